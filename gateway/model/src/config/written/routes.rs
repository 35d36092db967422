//! What is served, and for whom.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::super::{units::*, words::*};

/// Which requests are served, and what becomes of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Label in logs and metrics.
    pub name: Name,
    /// Host without port; every host without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path template: `{name}` stands for one segment, `{name...}` at the end for all that follow.
    pub path: String,
    /// Methods served.
    pub methods: Vec<String>,
    /// Who may come in.
    pub auth: Auth,
    /// Serve only this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The slot whose plugin decides; each tenant fills it with a component of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Name>,
    /// Largest body, where it is needed whole: by a plugin, the ledger or an idempotency key.
    #[serde(default)]
    pub body_limit: Size<1, { mib(64) }, { mib(1) }>,
    /// What a body must be, a client's and one that a plugin makes of it. With `json`, bodies are read whole.
    #[serde(default)]
    pub body_format: BodyFormat,
    /// Forward requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Keep requests durably and deliver them later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enqueue: Option<Enqueue>,
    /// What becomes of a request that cannot be forwarded now; `enqueue` needs both `forward` and `enqueue`.
    #[serde(default, rename = "else")]
    pub otherwise: Otherwise,
    /// Honour the client's `Prefer: respond-async` and `wait`; needs both `forward` and `enqueue`.
    #[serde(default)]
    pub prefer: bool,
    /// Retry a request that changes something too, when the connection broke before any answer came.
    #[serde(default)]
    pub retry_unsafe: bool,
    /// Do a request that is sent again only once, and give it the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// What a body must be, where there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormat {
    /// Any bytes.
    #[default]
    Any,
    /// JSON in UTF-8.
    Json,
}

/// What is done about requests that are sent again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    /// Where a request has its key: `idempotency-key`, the field of that name; `header:NAME`, another field;
    /// `json:/order/id`, a place in its JSON body; `cloudevents`, source and id of an event.
    #[serde(default = "Idempotency::key")]
    pub key: Label,
    /// Refuse requests without a key.
    #[serde(default)]
    pub required: bool,
    /// How long an answer is kept: 24h unless said otherwise, 7d on a route with `enqueue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Period<{ min(1) }, { d(30) }, { h(24) }>>,
    /// Which bodies are the same.
    #[serde(default)]
    pub fingerprint: Fingerprint,
}

impl Idempotency {
    fn key() -> Label {
        Label::fixed("idempotency-key")
    }
}

/// Which bodies are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fingerprint {
    /// Of the same bytes.
    #[default]
    Bytes,
    /// Of the same JSON, whatever its white space and the order of members.
    CanonicalJson,
}

/// Who may come in: `public` for everyone, or the tokens of issuers.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Everyone.
    Public,
    /// Whoever has a token.
    Tokens(Tokens),
}

/// Which tokens are accepted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Names of issuers.
    pub issuers: Vec<String>,
    /// Scopes that a token needs, all of them.
    #[serde(default)]
    pub scopes: Vec<Scope>,
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AuthVisitor;

        impl<'de> Visitor<'de> for AuthVisitor {
            type Value = Auth;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("`public` or a mapping with `issuers`")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Auth, E> {
                match value {
                    "public" => Ok(Auth::Public),
                    _ => Err(E::custom("`public` or a mapping with `issuers` belongs here")),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Auth, A::Error> {
                Tokens::deserialize(MapAccessDeserializer::new(map)).map(Auth::Tokens)
            }
        }

        deserializer.deserialize_struct("Auth", &["issuers", "scopes"], AuthVisitor)
    }
}

impl Serialize for Auth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Auth::Public => serializer.serialize_str("public"),
            Auth::Tokens(tokens) => tokens.serialize(serializer),
        }
    }
}

impl JsonSchema for Auth {
    fn schema_name() -> Cow<'static, str> {
        "Auth".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let tokens = generator.subschema_for::<Tokens>();
        json_schema!({
            "description": "Who may come in: `public` for everyone, or the tokens of issuers.",
            "anyOf": [{ "const": "public" }, tokens],
        })
    }
}

/// Forward to one of these.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Names of upstreams: the first, unless a plugin chooses another.
    pub upstreams: Vec<String>,
}

/// Keep durably and deliver to these.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enqueue {
    /// Names of sinks: all of them, unless a plugin chooses some.
    pub sinks: Vec<String>,
    /// CloudEvents `type` of the event, unless a plugin gives another.
    pub event_type: Label,
    /// How urgent its events are.
    #[serde(default)]
    pub lane: Lane,
}

/// How urgent an event is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// What the business stops without; a share of each sink's slots is kept free for it.
    Critical,
    /// Sooner than usual.
    High,
    /// As usual.
    #[default]
    Normal,
    /// What can wait, such as an import.
    Low,
}

/// What becomes of a request that cannot be forwarded now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// It is refused.
    #[default]
    Refuse,
    /// It is enqueued.
    Enqueue,
}
