//! What is sent: tenants by weight, tokens good and bad, bodies, keys and repetitions. As it is written here; as it is
//! sent in [`traffic`].

mod body;
pub(crate) mod draw;
pub mod orders;
pub(crate) mod text;
mod tokens;
pub mod traffic;

use std::collections::BTreeMap;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use orders::Orders;
pub use text::Invalid;
pub use traffic::Traffic;

use crate::issuer::{self, Algorithm};

/// Most tenants after numbered ones are counted out.
pub(crate) const MAX_TENANTS: usize = 100_000;

/// A workload as it is written, in YAML or as a mix in short form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Decides about everything that is drawn: equal seeds make equal requests, tokens' signatures aside.
    pub seed: u64,
    /// Who sends, with their weights: in short form, or one by one.
    pub tenants: Tenants,
    /// Users, all tenants together, by the tenants' weights; each has a token of its own.
    pub users: u32,
    /// How tokens are signed, with weights: `ES256=70,RS256=20,EdDSA=10`.
    pub algorithms: String,
    /// What tokens say of their scope.
    pub scope: String,
    /// Shares of requests with a token that is wrong on purpose: `expired=1%,audience=1%,kid=1%,forged=1%,none=1%`.
    pub bad_tokens: Option<String>,
    /// Share of requests that repeat an earlier one to the letter, idempotency key and body included.
    pub duplicates: Option<String>,
    /// Whether requests have the field `idempotency-key`.
    pub idempotency_keys: bool,
    /// Ordering keys of each tenant: what a key's orders arrive in.
    pub keys: u32,
    /// Whether requests are CloudEvents in binary mode, whose `partitionkey` is the ordering key.
    pub cloud_events: bool,
    /// Of every tenant that has none of its own.
    pub request: Request,
}

/// A request as it is written. What a tenant leaves out is the workload's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Path and query.
    pub path: Option<String>,
    /// Its method.
    pub method: Option<String>,
    /// Fields beside `authorization`, `content-type`, `user-agent` and those that are asked for elsewhere.
    pub fields: Option<BTreeMap<String, String>>,
    /// The body's media type.
    pub content_type: Option<String>,
    /// The body: text with the places `{{order}}`, `{{number}}`, `{{key}}`, `{{tenant}}`, `{{uuid}}` and `{{pad}}`.
    pub body: Option<String>,
    /// What `{{pad}}` fills the body up to: `1KiB`, or sizes with weights, `1KiB:90,64KiB:10`.
    pub size: Option<String>,
    /// Whether requests go without a token.
    pub anonymous: Option<bool>,
    /// Whether what is accepted has to arrive at the sink; methods that change nothing never do.
    pub arrives: Option<bool>,
}

/// Who sends.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Tenants {
    /// Names and weights: `acme=70,globex=30`.
    Short(String),
    /// One by one.
    Long(Vec<Tenant>),
}

/// One tenant, or many that are numbered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// What its figures are called, and what its tokens say unless `tenant` does. With `count`, what comes before numbers.
    pub name: String,
    /// What its tokens say, where that is not its name: several kinds of requests of one tenant.
    pub tenant: Option<String>,
    /// Its weight, or that of all numbered ones together.
    #[serde(default = "one")]
    pub weight: f64,
    /// So many tenants, numbered from 0.
    pub count: Option<u32>,
    /// The exponent by which numbered tenants differ: the n-th has the weight 1 / (n + 1)^zipf. 0 makes them equal.
    pub zipf: Option<f64>,
    /// Its request, where it differs from the workload's.
    #[serde(default)]
    pub request: Request,
}

/// By hand, so that what is wrong in the list is told with its line; serde's untagged enums forget it.
impl<'de> Deserialize<'de> for Tenants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Tenants;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("tenants: `acme=70,globex=30`, or a list")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Tenants, E> {
                Ok(Tenants::Short(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Tenants, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Tenants::Long)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn one() -> f64 {
    1.0
}

/// The order that is sent unless another body is written: of the shape of `fixtures/order.json`, and of its size.
pub const BODY: &str = concat!(
    r#"{"id":"{{order}}","number":{{number}},"key":{{key}},"customer":{"id":"c-{{key}}","#,
    r#""email":"inkoop@{{tenant}}.test","name":"Zuiderhaven Bouw"},"currency":"EUR","lines":["#,
    r#"{"sku":"BLT-01200","qty":1,"unit_price":8.75,"description":"Hexagon bolt M8 zinc, box of 50"},"#,
    r#"{"sku":"BLT-01207","qty":2,"unit_price":11.75,"description":"Hexagon bolt M8 zinc, box of 50"}],"#,
    r#""ship_to":{"street":"Havenkade 2","city":"Dordrecht","zip":"3311AB","country":"NL"},"#,
    r#""placed_at":"2026-11-20T09:30:00Z","note":"{{pad}}"}"#
);
/// The size of that order.
pub const SIZE: &str = "993";

impl Default for Workload {
    fn default() -> Self {
        Workload {
            seed: 1,
            tenants: Tenants::Short("acme".to_owned()),
            users: 15_000,
            algorithms: "ES256".to_owned(),
            scope: issuer::SCOPE.to_owned(),
            bad_tokens: None,
            duplicates: None,
            idempotency_keys: true,
            keys: 500,
            cloud_events: false,
            request: Request::default(),
        }
    }
}

impl Workload {
    /// From YAML.
    ///
    /// # Errors
    /// With line and column where it is no workload, and with the place where it cannot be meant.
    pub fn parse(yaml: &str) -> Result<Workload, Invalid> {
        let workload: Workload =
            serde_saphyr::from_str(yaml).map_err(|error| Invalid::new("workload", error.to_string()))?;
        workload.check()?;
        Ok(workload)
    }

    /// Looks at everything that has to be read: weights, shares, sizes, templates, names.
    pub fn check(&self) -> Result<(), Invalid> {
        traffic::Shape::of(self).map(|_| ())
    }

    /// Names of its tenants, by index.
    pub fn names(&self) -> Result<Vec<String>, Invalid> {
        Ok(self.each()?.into_iter().map(|tenant| tenant.name).collect())
    }

    /// Algorithms that its tokens are signed with.
    pub fn signed_with(&self) -> Result<Vec<Algorithm>, Invalid> {
        Ok(traffic::Shape::of(self)?.algorithms())
    }

    /// Tenants and weights as text.
    pub fn mix(&self) -> String {
        let long = |tenant: &Tenant| match tenant.count {
            Some(count) => format!("{}×{count}={}", tenant.name, tenant.weight),
            None => format!("{}={}", tenant.name, tenant.weight),
        };
        match &self.tenants {
            Tenants::Short(text) => text.clone(),
            Tenants::Long(all) => all.iter().map(long).collect::<Vec<_>>().join(","),
        }
    }

    /// Who sends, one by one, numbered ones counted out: what is written of each, and its weight.
    fn each(&self) -> Result<Vec<Tenant>, Invalid> {
        let all = match &self.tenants {
            Tenants::Short(text) => {
                let weights = text::weights("tenants", text)?;
                weights.into_iter().map(|(name, weight)| Tenant::called(name, weight)).collect()
            }
            Tenants::Long(all) => {
                let mut each = Vec::new();
                for (n, tenant) in all.iter().enumerate() {
                    tenant.count_out(&format!("tenants[{n}]"), &mut each)?;
                }
                each
            }
        };
        if all.iter().all(|tenant| tenant.weight == 0.0) {
            return Err(Invalid::new("tenants", "there must be one at least, with a weight above 0"));
        }
        let mut names: Vec<&str> = all.iter().map(|tenant| tenant.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Invalid::new("tenants", format!("`{}` is there twice", twice[0])));
        }
        Ok(all)
    }
}

impl Tenant {
    /// So many tenants that are alike.
    pub fn numbered(name: &str, count: u32) -> Tenant {
        Tenant { count: Some(count), ..Tenant::called(name.to_owned(), 1.0) }
    }

    fn called(name: String, weight: f64) -> Tenant {
        Tenant { name, tenant: None, weight, count: None, zipf: None, request: Request::default() }
    }

    fn count_out(&self, at: &str, into: &mut Vec<Tenant>) -> Result<(), Invalid> {
        let refuse = |what: String| Err(Invalid::new(at, what));
        if self.name.is_empty() {
            return refuse("a tenant needs a name".to_owned());
        }
        if !(0.0..=1e9).contains(&self.weight) {
            return refuse(format!("{} is no weight: a number from 0 to 1,000,000,000", self.weight));
        }
        let count = self.count.unwrap_or(1) as usize;
        if count == 0 || into.len() + count > MAX_TENANTS {
            return refuse(format!("there can be 1 to {MAX_TENANTS} tenants"));
        }
        let zipf = match (self.zipf, self.count) {
            (Some(_), None) => return refuse("`zipf` is for numbered tenants; add `count`".to_owned()),
            (Some(zipf), _) if !(0.0..=4.0).contains(&zipf) => return refuse("`zipf` is from 0 to 4".to_owned()),
            (zipf, _) => zipf.unwrap_or(0.0),
        };
        if self.count.is_none() {
            into.push(self.clone());
            return Ok(());
        }
        if self.tenant.is_some() {
            return refuse("numbered tenants have numbered ids; leave `tenant` out".to_owned());
        }
        let weight = |n: usize| 1.0 / ((n + 1) as f64).powf(zipf);
        let total: f64 = (0..count).map(weight).sum();
        into.extend((0..count).map(|n| Tenant {
            name: format!("{}{n}", self.name),
            weight: self.weight * weight(n) / total,
            count: None,
            zipf: None,
            ..self.clone()
        }));
        Ok(())
    }
}

impl Request {
    /// This, and what it leaves out from `other`.
    fn or(&self, other: &Request) -> Request {
        let (own, other) = (self.clone(), other.clone());
        Request {
            path: own.path.or(other.path),
            method: own.method.or(other.method),
            fields: own.fields.or(other.fields),
            content_type: own.content_type.or(other.content_type),
            // A body and its size belong together.
            size: own.size.or(if own.body.is_some() { None } else { other.size }),
            body: own.body.or(other.body),
            anonymous: own.anonymous.or(other.anonymous),
            arrives: own.arrives.or(other.arrives),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
