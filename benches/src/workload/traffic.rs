//! A workload as it is sent. Everything that can be made beforehand is: of the rest, a request's number alone decides.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::body::{Body, Order};
use super::draw::{Draw, Pick};
use super::orders::Orders;
use super::text::{self, Invalid};
use super::tokens::{Tokens, Wanted};
use super::{BODY, Request, SIZE, Tenant, Workload};
use crate::Error;
use crate::issuer::{Algorithm, Flaw, Issuer};
use crate::load::{Expect, Planned, Source};

/// A repetition comes so many requests after what it repeats, at least.
const REPEATS_AFTER: u64 = 256;
/// And so many more at most.
const REPEATS_WITHIN: u64 = 1_024;
/// Most users, and most ordering keys of all tenants.
const MAX_USERS: u32 = 1_000_000;
const MAX_KEYS: u64 = 10_000_000;
/// What only the client may set: it frames messages (RFC 9110 §7.6.1, RFC 9112 §6).
const CLIENTS_OWN: [&str; 6] = ["connection", "content-length", "expect", "te", "transfer-encoding", "upgrade"];

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("sluis-bench/", env!("CARGO_PKG_VERSION")));

/// A checked workload, without tokens.
pub struct Shape {
    seed: u64,
    names: Vec<String>,
    tenants: Vec<Kind>,
    pick: Pick,
    /// Nothing wrong, then each of [`Flaw::ALL`].
    flaws: Pick,
    /// Of all 64 bits.
    duplicates: u64,
    keys: u64,
    idempotency_keys: bool,
    cloud_events: bool,
    wanted: Wanted,
}

/// The requests of one tenant.
struct Kind {
    tenant: String,
    path: Uri,
    method: Method,
    fields: HeaderMap,
    body: Body,
    sizes: Vec<usize>,
    size: Pick,
    arrives: bool,
}

/// What one order is, whichever request carries it.
struct Plan {
    number: u64,
    tenant: usize,
    key: u64,
    flaw: Option<Flaw>,
    /// For the rest: user, size.
    draw: Draw,
}

impl Shape {
    /// Checks a workload.
    pub fn of(workload: &Workload) -> Result<Shape, Invalid> {
        let each = workload.each()?;
        if !(1..=MAX_USERS).contains(&workload.users) {
            return Err(Invalid::new("users", format!("there can be 1 to {MAX_USERS}")));
        }
        let keys = u64::from(workload.keys);
        if keys == 0 || keys * each.len() as u64 > MAX_KEYS {
            return Err(Invalid::new("keys", format!("there can be 1 to {MAX_KEYS}, all tenants together")));
        }
        let flaws = flaws(workload.bad_tokens.as_deref())?;
        let flawed: f64 = flaws.iter().sum();
        let weights: Vec<f64> = each.iter().map(|tenant| tenant.weight).collect();
        let duplicates = workload.duplicates.as_deref().map_or(Ok(0.0), |text| text::share("duplicates", text))?;
        let tenants: Result<Vec<Kind>, Invalid> = each.iter().map(|tenant| Kind::of(tenant, workload)).collect();
        let total: f64 = weights.iter().sum();
        let users = |tenant: &Tenant| match tenant.request.or(&workload.request).anonymous {
            Some(true) => 0,
            _ => ((f64::from(workload.users) * tenant.weight / total) as usize).max(1),
        };
        let tenants = tenants?;
        let wanted = Wanted {
            algorithms: algorithms(&workload.algorithms)?,
            scope: workload.scope.clone(),
            flaws: Flaw::ALL.into_iter().zip(&flaws).filter(|(_, share)| **share > 0.0).map(|(flaw, _)| flaw).collect(),
            tenants: each.iter().zip(&tenants).map(|(tenant, kind)| (kind.tenant.clone(), users(tenant))).collect(),
            seed: workload.seed,
        };
        Ok(Shape {
            seed: workload.seed,
            names: each.into_iter().map(|tenant| tenant.name).collect(),
            tenants,
            pick: Pick::by(&weights),
            flaws: Pick::by(&[&[1.0 - flawed], flaws.as_slice()].concat()),
            duplicates: (duplicates * 2f64.powi(64)) as u64,
            keys,
            idempotency_keys: workload.idempotency_keys,
            cloud_events: workload.cloud_events,
            wanted,
        })
    }

    /// Algorithms that its tokens need.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        self.wanted.algorithms.iter().map(|(algorithm, _)| *algorithm).collect()
    }

    /// Whether any tenant's requests have a token.
    pub(crate) fn has_tokens(&self) -> bool {
        self.wanted.tenants.iter().any(|(_, users)| *users > 0)
    }

    /// Whether any token is to be wrong on purpose.
    pub(crate) fn has_flaws(&self) -> bool {
        !self.wanted.flaws.is_empty()
    }

    /// What the request with this number carries: an order of its own, or an earlier one again.
    fn order(&self, mut number: u64) -> Plan {
        loop {
            let mut draw = Draw::of(self.seed, number);
            let (again, back) = (draw.bits() < self.duplicates, draw.below(REPEATS_WITHIN));
            if again && let Some(earlier) = number.checked_sub(REPEATS_AFTER + back) {
                number = earlier;
                continue;
            }
            let tenant = self.pick.at(draw.bits());
            // Without a token there is none to be wrong.
            let signed = self.wanted.tenants.get(tenant).is_some_and(|(_, users)| *users > 0);
            let flaw = self.flaws.at(draw.bits()).checked_sub(1).map(|flaw| Flaw::ALL[flaw]).filter(|_| signed);
            let key = tenant as u64 * self.keys + draw.below(self.keys);
            return Plan { number, tenant, key, flaw, draw };
        }
    }
}

impl Kind {
    fn of(tenant: &Tenant, workload: &Workload) -> Result<Kind, Invalid> {
        let request = tenant.request.or(&workload.request);
        let at = |what: &str| format!("request of `{}`: {what}", tenant.name);
        let refuse = |what: &str, error: &dyn std::fmt::Display| Invalid::new(at(what), error.to_string());
        let path = request.path.as_deref().unwrap_or("/v1/orders");
        if !path.starts_with('/') {
            return Err(Invalid::new(at("path"), format!("`{path}` does not begin with `/`")));
        }
        let method = request.method.as_deref().unwrap_or("POST");
        let method: Method = method.parse().map_err(|error| refuse("method", &error))?;
        let changes = !matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
        let (body, sizes) = match (&request.body, &request.size) {
            (None, None) if !changes => (Body::Fixed(Bytes::new()), vec![(0, 1.0)]),
            (body, size) => {
                let default = if body.is_none() { Some(SIZE) } else { None };
                let size = size.as_deref().or(default);
                let sizes = size.map_or(Ok(vec![(0, 1.0)]), |size| text::sizes(&at("size"), size))?;
                (Body::parse(&at("body"), body.as_deref().unwrap_or(BODY), size.is_some())?, sizes)
            }
        };
        for (size, _) in &sizes {
            Body::check_size(&at("size"), *size)?;
        }
        let weights: Vec<f64> = sizes.iter().map(|(_, weight)| *weight).collect();
        Ok(Kind {
            tenant: tenant.tenant.clone().unwrap_or_else(|| tenant.name.clone()),
            path: path.parse().map_err(|error| refuse("path", &error))?,
            fields: fields(&request, changes, at("fields"))?,
            body,
            sizes: sizes.into_iter().map(|(size, _)| size).collect(),
            size: Pick::by(&weights),
            arrives: changes && request.arrives.unwrap_or(true),
            method,
        })
    }
}

fn fields(request: &Request, changes: bool, at: String) -> Result<HeaderMap, Invalid> {
    let mut fields = HeaderMap::with_capacity(16);
    fields.insert(USER_AGENT, AGENT);
    if changes {
        let content_type = request.content_type.as_deref().unwrap_or("application/json");
        let value = HeaderValue::from_str(content_type);
        fields.insert(CONTENT_TYPE, value.map_err(|error| Invalid::new(at.clone(), error.to_string()))?);
    }
    for (name, value) in request.fields.iter().flatten() {
        let refuse = |error: &dyn std::fmt::Display| Invalid::new(at.clone(), format!("`{name}`: {error}"));
        let name: HeaderName = name.parse().map_err(|error| refuse(&error))?;
        if CLIENTS_OWN.contains(&name.as_str()) {
            return Err(refuse(&"is the client's to set"));
        }
        fields.insert(name, value.parse().map_err(|error| refuse(&error))?);
    }
    Ok(fields)
}

fn algorithms(text: &str) -> Result<Vec<(Algorithm, f64)>, Invalid> {
    let known = |(name, weight): (String, f64)| {
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        let what = || format!("`{name}` is not among ES256, RS256 and EdDSA");
        algorithm.map(|algorithm| (algorithm, weight)).ok_or_else(|| Invalid::new("algorithms", what()))
    };
    text::weights("algorithms", text)?.into_iter().map(known).collect()
}

/// Shares in the order of [`Flaw::ALL`].
fn flaws(text: Option<&str>) -> Result<[f64; Flaw::ALL.len()], Invalid> {
    let mut shares = [0.0; Flaw::ALL.len()];
    let Some(text) = text else { return Ok(shares) };
    for (name, share) in text::shares("bad_tokens", text)? {
        let flaw = Flaw::ALL.into_iter().find(|flaw| flaw.name() == name);
        let what = || format!("`{name}` is not among expired, audience, kid, forged and none");
        shares[flaw.ok_or_else(|| Invalid::new("bad_tokens", what()))? as usize] += share;
    }
    Ok(shares)
}

/// A workload as it is sent, with its tokens and the book of its orders.
pub struct Traffic {
    shape: Arc<Shape>,
    tokens: ArcSwap<Tokens>,
    orders: Arc<Orders>,
    /// What names of orders begin with: two runs against one gateway must not have orders of the same name.
    run: Box<str>,
}

impl Traffic {
    /// Signs the tokens. `run` goes into names of orders: letters and digits.
    pub fn new(workload: &Workload, issuer: &Issuer, run: &str) -> Result<Traffic, Error> {
        let shape = Shape::of(workload)?;
        let tokens = ArcSwap::from_pointee(Tokens::mint(issuer, &shape.wanted)?);
        let keys = usize::try_from(shape.keys)? * shape.tenants.len();
        Ok(Traffic { shape: Arc::new(shape), tokens, orders: Arc::new(Orders::new(keys)), run: run.into() })
    }

    /// The same requests with the same tokens, which take their time to make, for another run: its orders have other
    /// names and a book of their own.
    pub fn renewed(&self, run: &str) -> Traffic {
        Traffic {
            shape: self.shape.clone(),
            tokens: ArcSwap::new(self.tokens.load_full()),
            orders: Arc::new(self.orders.emptied()),
            run: run.into(),
        }
    }

    /// Signs all tokens anew, and sends those from here on.
    pub fn renew_tokens(&self, issuer: &Issuer) -> Result<(), Error> {
        self.tokens.store(Arc::new(Tokens::mint(issuer, &self.shape.wanted)?));
        Ok(())
    }

    /// Ids of the tenants, as tokens have them, by index.
    pub fn tenant_ids(&self) -> impl Iterator<Item = &str> {
        self.shape.tenants.iter().map(|kind| kind.tenant.as_str())
    }

    /// The book of its orders.
    pub fn orders(&self) -> &Arc<Orders> {
        &self.orders
    }

    /// What names of its orders begin with.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The index of the tenant whose order that is.
    pub fn tenant_of(&self, order: u64) -> usize {
        self.shape.order(order).tenant
    }

    /// Whether that order has to arrive where it was accepted.
    fn arrives(&self, plan: &Plan) -> bool {
        self.shape.tenants[plan.tenant].arrives
    }
}

impl Source for Traffic {
    fn tenants(&self) -> &[String] {
        &self.shape.names
    }

    fn tenant(&self, number: u64) -> usize {
        self.shape.order(number).tenant
    }

    fn plan(&self, number: u64) -> Planned {
        let mut plan = self.shape.order(number);
        let kind = &self.shape.tenants[plan.tenant];
        if self.arrives(&plan) {
            match plan.number {
                own if own == number => self.orders.sent(own, plan.key as usize),
                earlier => self.orders.repeated(earlier),
            }
        }
        let size = kind.sizes[kind.size.at(plan.draw.bits())];
        let order = Order { run: &self.run, number: plan.number, key: plan.key, tenant: &kind.tenant, size };
        let mut request = http::Request::new(kind.body.fill(order, self.shape.seed));
        *request.method_mut() = kind.method.clone();
        *request.uri_mut() = kind.path.clone();
        let mut fields = kind.fields.clone();
        if let Some(token) = self.tokens.load().draw(plan.tenant, plan.flaw, &mut plan.draw) {
            fields.insert(AUTHORIZATION, token.clone());
        }
        name(&mut fields, &self.shape, &self.run, &plan);
        *request.headers_mut() = fields;
        let expect = if plan.flaw.is_some() { Expect::Unauthorised } else { Expect::Success };
        Planned { tenant: plan.tenant, request, expect, order: plan.number }
    }

    fn answered(&self, order: u64, status: Option<u16>) {
        if status.is_some_and(|status| (200..300).contains(&status)) {
            let plan = self.shape.order(order);
            if self.arrives(&plan) {
                self.orders.accepted(order, plan.key as usize);
            }
        }
    }
}

/// The fields by which an order is known.
fn name(fields: &mut HeaderMap, shape: &Shape, run: &str, plan: &Plan) {
    if !(shape.idempotency_keys || shape.cloud_events) {
        return;
    }
    // Of letters and digits only.
    let Ok(name) = HeaderValue::from_maybe_shared(Bytes::from(format!("{run}-{}", plan.number))) else { return };
    if shape.cloud_events {
        const PREFIXED: [(HeaderName, HeaderValue); 3] = [
            (HeaderName::from_static("ce-specversion"), HeaderValue::from_static("1.0")),
            (HeaderName::from_static("ce-source"), HeaderValue::from_static("/bench")),
            (HeaderName::from_static("ce-type"), HeaderValue::from_static("bench.order")),
        ];
        fields.extend(PREFIXED);
        fields.insert(HeaderName::from_static("ce-id"), name.clone());
        // Of this load alone: what has a key in common waits for each other.
        if let Ok(key) = HeaderValue::from_maybe_shared(Bytes::from(format!("{run}-key-{}", plan.key))) {
            fields.insert(HeaderName::from_static("ce-partitionkey"), key);
        }
    }
    if shape.idempotency_keys {
        fields.insert(IDEMPOTENCY_KEY, name);
    }
}

/// The run and the number of an order, by its name.
pub fn read_order_name(name: &str) -> Option<(&str, u64)> {
    let (run, number) = name.rsplit_once('-')?;
    Some((run, number.parse().ok()?))
}
