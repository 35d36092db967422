//! Configuration as written: the one place that says which settings there are, their ranges and their defaults.
//!
//! The doc comments are also the descriptions in the JSON Schema.

mod behind;
mod maintenance;
mod routes;
mod server;
mod tenants;

pub use behind::*;
pub use maintenance::*;
pub use routes::*;
pub use server::*;
pub use tenants::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of a Sluis gateway.
///
/// In every value, `${env:NAME}` is replaced by an environment variable, `${file:PATH}` by the text of a file
/// without its last line break, and `$$` by a single `$`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Sluis")]
pub struct Written {
    /// Version of this format.
    pub version: Version,
    /// Files to read as well, relative to this one; `*` and `?` may stand in the last part of a path. They may hold
    /// `tenants`, `routes`, `upstreams`, `sinks` and `include`, which are added to those here.
    #[serde(default, skip_serializing)]
    pub include: Vec<String>,
    /// Process-wide settings.
    #[serde(default)]
    pub server: Server,
    /// Sockets for customers.
    pub listeners: Vec<Listener>,
    /// The socket for operators.
    #[serde(default)]
    pub admin: Admin,
    /// Who signs tokens.
    #[serde(default)]
    pub issuers: Vec<Issuer>,
    /// Systems that requests are forwarded to.
    #[serde(default)]
    pub upstreams: Vec<Upstream>,
    /// Systems that events are delivered to.
    #[serde(default)]
    pub sinks: Vec<Sink>,
    /// Where plugins come from and what each call may use.
    #[serde(default)]
    pub plugins: Plugins,
    /// The durable store of accepted events.
    #[serde(default)]
    pub ledger: Ledger,
    /// What is served.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The organisations that are served.
    #[serde(default)]
    pub tenants: Vec<Tenant>,
}

/// The lists that an included file may add to, and `include`.
pub(crate) const INCLUDABLE: [&str; 5] = ["tenants", "routes", "upstreams", "sinks", "include"];

/// The one version of the format that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "u64")]
pub struct Version;

impl From<Version> for u64 {
    fn from(_: Version) -> u64 {
        1
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Version),
            _ => Err(serde::de::Error::custom("this program reads version 1 of the format")),
        }
    }
}

impl JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": 1 })
    }
}

pub(crate) fn yes() -> bool {
    true
}
