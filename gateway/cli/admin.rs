//! The operators' listener as commands ask it: where it is, who asks, and what a "no" says.

use std::path::PathBuf;

use axum::body::Bytes;
use axum::http::Method;
use serde_json::Value;

use crate::client::{Call, Client, ClientError, Reply};

/// Which gateway, and who asks.
#[derive(Debug, clap::Args)]
pub struct Admin {
    /// The operators' listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901", env = "SLUIS_ADMIN")]
    admin: String,
    /// A token with the scope for it
    #[arg(long, value_name = "TOKEN", env = "SLUIS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// PEM of the CA of an https:// listener
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Why what was asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No answer of the gateway's.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The gateway said no.
    #[error("the gateway says no ({status}) to {asked}: {reason}{}", help(*status))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Method and URL.
        asked: String,
        /// Its problem, in words.
        reason: String,
    },
    /// No token.
    #[error("no token: name one with --token, or with SLUIS_TOKEN in the environment")]
    NoToken,
    /// A file of the command line cannot be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// No runtime.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

/// What may be done about a "no".
fn help(status: u16) -> &'static str {
    match status {
        401 => "; get a new token, and name it with --token or SLUIS_TOKEN",
        403 => "; get a token with the scope for it (`admin.auth` of the configuration names them)",
        503 => "; try again in a moment",
        _ => "",
    }
}

impl Admin {
    /// Where a path is.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.admin.trim_end_matches('/'))
    }

    /// Asks, and takes no for an error.
    ///
    /// # Errors
    /// When there is no token, no answer, or the answer is no.
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, AdminError> {
        self.ask_with(method, path, body, None).await
    }

    /// The same with a body of this media type.
    ///
    /// # Errors
    /// As [`Admin::ask`].
    pub async fn ask_with(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        media_type: Option<&'static str>,
    ) -> Result<Reply, AdminError> {
        let token = Some(self.token.clone().ok_or(AdminError::NoToken)?);
        let client = Client::new(self.ca.as_deref())?;
        let url = self.url(path);
        let asked = format!("{method} {url}");
        let answer = client.send(Call { method, url, token, body, media_type, ..Call::default() }).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let problem = answer.json();
        let parts = [text(&problem, "title"), text(&problem, "code"), text(&problem, "detail")];
        let reason = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        Err(AdminError::Refused { status: answer.status.as_u16(), asked, reason })
    }

    /// What is at a path, as JSON.
    ///
    /// # Errors
    /// As [`Admin::ask`].
    pub async fn look(&self, path: &str) -> Result<Value, AdminError> {
        Ok(self.ask(Method::GET, path, Bytes::new()).await?.json())
    }

    /// Sends an order, and answers what came of it.
    ///
    /// # Errors
    /// As [`Admin::ask`].
    pub async fn order(&self, path: &str, order: &Value) -> Result<Value, AdminError> {
        Ok(self.ask(Method::POST, path, order.to_string().into()).await?.json())
    }
}

/// A text of an answer; empty where it is not there.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// A path segment or a value of a query, percent-encoded (RFC 3986 §2.1).
pub fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded() {
        assert_eq!(encoded("2026-01-31T12:00:00+01:00"), "2026-01-31T12%3A00%3A00%2B01%3A00");
        assert_eq!(encoded("a/b?c=d&e é"), "a%2Fb%3Fc%3Dd%26e%20%C3%A9");
    }
}
