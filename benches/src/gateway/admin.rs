//! What is asked of the gateway on its operators' listener.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::metrics;
use crate::Error;
use crate::client::Client;

/// Longest wait for an answer; an upload is compiled before it is answered.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The operators' listener of a gateway, asked with an operator's token.
pub struct Admin {
    client: Client,
    token: String,
}

impl Admin {
    /// Connects to nothing yet. Must be used within one tokio runtime.
    pub fn new(address: SocketAddr, token: String) -> Self {
        Admin { client: Client::new(address), token }
    }

    /// The metrics, in Prometheus' text format.
    pub async fn metrics(&self) -> Result<String, Error> {
        let body = self.ask(Method::GET, "/metrics", "", Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Uploads a version of a tenant's plugin, and lets it serve.
    pub async fn deploy(&self, tenant: &str, plugin: &str, version: &str, component: Vec<u8>) -> Result<(), Error> {
        let plugin = format!("/v1/tenants/{tenant}/plugins/{plugin}");
        self.ask(Method::PUT, &format!("{plugin}/versions/{version}"), "application/wasm", component.into()).await?;
        let order = Bytes::from(json!({ "version": version }).to_string());
        self.ask(Method::POST, &format!("{plugin}/deploy"), "application/json", order).await?;
        Ok(())
    }

    /// Number of the plan in force, and reloads that were refused until now.
    pub async fn plan(&self) -> Result<(f64, f64), Error> {
        let text = self.metrics().await?;
        let value = |name: &str| metrics::samples(&text).find(|(sample, _)| *sample == name).map(|(_, value)| value);
        let generation = value("sluis_config_generation").ok_or("the gateway tells no number of its plan")?;
        Ok((generation, value("sluis_config_reloads_total{result=\"refused\"}").unwrap_or(0.0)))
    }

    /// Waits until another plan than `before` is in force.
    pub async fn wait_for_plan(&self, before: (f64, f64), patience: Duration) -> Result<(), Error> {
        let until = Instant::now() + patience;
        loop {
            let now = self.plan().await?;
            if now.0 > before.0 {
                return Ok(());
            }
            if now.1 > before.1 {
                return Err("the gateway refused the new configuration; `sluis check` says why".into());
            }
            if Instant::now() > until {
                return Err(format!("no new plan within {patience:?}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask(&self, method: Method, path: &str, content_type: &str, body: Bytes) -> Result<Bytes, Error> {
        let mut request = Request::builder().method(method.clone()).uri(path).header("host", "admin.test");
        request = request.header("authorization", format!("Bearer {}", self.token));
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let answer = self.client.send(request.body(Full::new(body))?);
        let answer = tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| format!("{path}: no answer"))??;
        let status: StatusCode = answer.status();
        if !status.is_success() {
            return Err(format!("{method} {path}: {status}: {}", String::from_utf8_lossy(answer.body())).into());
        }
        Ok(answer.into_body())
    }
}
