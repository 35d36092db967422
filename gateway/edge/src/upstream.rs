//! An upstream at run time: its endpoints with their connections, its breaker, its permits and its retry budget.
//!
//! What an upstream has learnt survives a reload that does not change it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use sluis_model::breaker::Breaker;
use sluis_model::budget::RetryBudget;
use sluis_model::limits::Permits;
use sluis_model::plan::{Endpoint, Upstream};

use crate::forward::connect::{Dialer, Pool, TlsSettingsError};
use crate::forward::h2::H2Client;

/// An endpoint that took no connection is asked last for this long.
const SHUN: Duration = Duration::from_secs(5);

/// An upstream and everything it has learnt.
pub struct UpstreamState {
    /// As configured.
    pub settings: Arc<Upstream>,
    /// Stops asking when the answers are failures.
    pub breaker: Arc<Breaker>,
    /// Requests in flight.
    pub permits: Arc<Permits>,
    /// Bounds retries to a share of requests.
    pub budget: Arc<RetryBudget>,
    /// The operator's fields for every request; they win over the client's and the plugin's.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    endpoints: Vec<EndpointState>,
    next: AtomicUsize,
}

/// One endpoint and its connections.
pub struct EndpointState {
    /// As configured.
    pub endpoint: Endpoint,
    /// Value of `Host`: the port is left out where it is the scheme's own.
    pub authority: String,
    /// Makes new connections.
    pub dialer: Dialer,
    /// Idle HTTP/1.1 connections.
    pub pool: Pool,
    /// The HTTP/2 connection.
    pub h2: H2Client,
    shunned_until: AtomicU64,
}

/// A field value of an upstream that HTTP cannot carry; a fault of the plan's checks.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// TLS settings.
    #[error("upstream `{0}`: {1}")]
    Tls(Arc<str>, #[source] TlsSettingsError),
    /// A configured field.
    #[error("upstream `{0}`: `{1}` cannot be sent as a field")]
    Header(Arc<str>, String),
}

impl UpstreamState {
    /// Builds the state, keeping of `previous` what still fits. A breaker or a retry budget whose own settings changed
    /// begins anew; other changes leave it as it stands.
    pub fn build(settings: &Arc<Upstream>, previous: Option<&Arc<UpstreamState>>) -> Result<Arc<Self>, UpstreamError> {
        if let Some(previous) = previous
            && previous.settings == *settings
        {
            return Ok(previous.clone());
        }
        let endpoints = settings
            .endpoints
            .iter()
            .map(|endpoint| EndpointState::new(settings, endpoint))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| UpstreamError::Tls(settings.name.clone(), e))?;
        let breaker = match previous {
            Some(previous) if previous.settings.breaker == settings.breaker => previous.breaker.clone(),
            _ => Arc::new(Breaker::new(settings.breaker)),
        };
        let budget = match previous {
            Some(previous) if previous.settings.retry_budget_percent == settings.retry_budget_percent => {
                previous.budget.clone()
            }
            _ => Arc::new(RetryBudget::new(settings.retry_budget_percent)),
        };
        let permits = match previous {
            Some(previous) => {
                previous.permits.set_limit(settings.in_flight);
                previous.permits.clone()
            }
            None => Arc::new(Permits::new(settings.in_flight)),
        };
        let set_headers = settings
            .headers
            .iter()
            .map(|(name, value)| {
                let fail = || UpstreamError::Header(settings.name.clone(), name.clone());
                let mut value = HeaderValue::from_str(value.expose()).map_err(|_| fail())?;
                value.set_sensitive(true);
                Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| fail())?, value))
            })
            .collect::<Result<_, UpstreamError>>()?;
        Ok(Arc::new(UpstreamState {
            settings: settings.clone(),
            breaker,
            permits,
            budget,
            set_headers,
            endpoints,
            next: AtomicUsize::new(0),
        }))
    }

    /// The endpoint for one attempt: in turn, those that just failed to connect last.
    pub fn pick(&self, now: u64) -> (usize, &EndpointState) {
        let count = self.endpoints.len();
        let start = if count == 1 { 0 } else { self.next.fetch_add(1, Ordering::Relaxed) % count };
        let at = (0..count)
            .map(|step| (start + step) % count)
            .find(|at| self.endpoints[*at].shunned_until.load(Ordering::Relaxed) <= now)
            .unwrap_or(start);
        (at, &self.endpoints[at])
    }

    /// The endpoint at a position that `pick` gave.
    pub fn endpoint(&self, at: usize) -> &EndpointState {
        &self.endpoints[at]
    }

    /// Attempts that may fail to connect before the request fails: nothing was sent, so each is safe.
    pub fn connect_attempts(&self) -> usize {
        self.endpoints.len().min(1 + self.settings.retries as usize)
    }

    /// Closes idle connections that are too old or dead.
    pub fn sweep(&self, now: Instant) {
        for endpoint in &self.endpoints {
            endpoint.pool.sweep(now);
        }
    }
}

impl EndpointState {
    fn new(settings: &Upstream, endpoint: &Endpoint) -> Result<Self, TlsSettingsError> {
        let host = if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
        let own_port = if endpoint.tls { 443 } else { 80 };
        let authority = if endpoint.port == own_port { host } else { format!("{host}:{}", endpoint.port) };
        Ok(EndpointState {
            endpoint: endpoint.clone(),
            authority,
            dialer: Dialer::new(settings, endpoint)?,
            pool: Pool::new(settings.pool_size, settings.pool_idle_timeout),
            h2: H2Client::default(),
            shunned_until: AtomicU64::new(0),
        })
    }

    /// It took no connection: others first for a while.
    pub fn shun(&self, now: u64) {
        self.shunned_until.store(now + SHUN.as_nanos() as u64, Ordering::Relaxed);
    }
}
