//! The parts that a run brings along: tokens and their issuer, and an ERP stand-in that tells what arrived.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::bearer::Bearer;
use super::{Job, SessionError, SharedSource, Tokens, run_name};
use crate::gateway::{Follower, Page};
use crate::issuer::{Algorithm, Issuer};
use crate::load::{Source, Stop};
use crate::parts::{Behaviour, Erp, Idp};
use crate::result::Delivery;
use crate::workload::Traffic;

/// Between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(20);

/// What is around a run: where its parts listen, and what else there is to see. What has no address is not there.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The issuer's keys, at `/jwks.json`.
    pub issuer: Option<SocketAddr>,
    /// The ERP stand-in.
    pub erp: Option<SocketAddr>,
    /// The gateway's metrics.
    pub metrics: Option<Page>,
    /// Longest wait for what was accepted.
    pub drain: Duration,
}

/// A run's parts. They live as long as this.
pub struct Stand {
    source: SharedSource,
    traffic: Arc<Traffic>,
    jwks: Option<String>,
    idp: Option<Idp>,
    erp: Option<Erp>,
    metrics: Option<Page>,
    drain: Duration,
}

impl Stand {
    /// Signs the tokens and starts the parts.
    ///
    /// # Errors
    /// When the workload cannot be meant, or a part cannot listen.
    pub fn new(job: &Job, around: Surroundings) -> Result<Stand, SessionError> {
        job.check()?;
        let mut workload = job.workload.clone();
        let issuer = match job.tokens {
            Tokens::Minted => Some(Issuer::with(&Algorithm::ALL).map_err(SessionError::Tokens)?),
            // None are signed: each request gets one that is there already.
            _ => {
                workload.request.anonymous = Some(true);
                None
            }
        };
        let made = issuer.map_or_else(Issuer::new, Ok).map_err(SessionError::Tokens)?;
        let traffic = Traffic::new(&workload, &made, &run_name()).map_err(SessionError::Tokens)?;
        let traffic = Arc::new(traffic);
        let jwks = (job.tokens == Tokens::Minted).then(|| made.jwks());
        let idp = match (around.issuer, &jwks) {
            (Some(address), Some(jwks)) => Some(start(address, |at| Idp::start_at(at, jwks.clone()))?),
            (Some(_), None) => return Err(asked("tokens come from elsewhere, so there are no keys to serve")),
            (None, _) => None,
        };
        let erp = around.erp.map(|address| start(address, |at| Erp::start_at(at, Behaviour::default()))).transpose()?;
        if let Some(erp) = &erp {
            erp.expect(traffic.run(), traffic.orders().clone());
        }
        let source = source(job, &traffic)?;
        Ok(Stand { source, traffic, jwks, idp, erp, metrics: around.metrics, drain: around.drain })
    }

    /// Requests.
    pub(crate) fn source(&self) -> SharedSource {
        self.source.clone()
    }

    /// Names of the tenants.
    pub fn tenants(&self) -> &[String] {
        self.source.tenants()
    }

    /// Begins to read the gateway's metrics, where they are known.
    pub(crate) fn follow(&self, first: Instant) -> Result<Option<Follower>, SessionError> {
        follow(self.metrics.as_ref(), first)
    }

    /// Whether what was accepted is held against what arrived.
    pub fn has_sink(&self) -> bool {
        self.erp.is_some()
    }

    /// The key set of its tokens, where it signed them.
    pub fn jwks(&self) -> Option<&str> {
        self.jwks.as_deref()
    }

    /// Where the keys are served.
    pub fn issuer_address(&self) -> Option<SocketAddr> {
        self.idp.as_ref().map(Idp::address)
    }

    /// Waits for what was accepted to arrive, at most as long as was asked for or until the run is stopped.
    pub(crate) fn delivery(&self, stop: &Stop) -> Option<Delivery> {
        self.erp.as_ref()?;
        let (orders, until) = (self.traffic.orders(), Instant::now() + self.drain);
        while orders.outstanding() > 0 && Instant::now() < until && stop.told().is_none() {
            std::thread::park_timeout(LOOK);
        }
        Some(orders.delivery())
    }
}

/// Begins to read a gateway's metrics. Times count from `first`.
pub(crate) fn follow(page: Option<&Page>, first: Instant) -> Result<Option<Follower>, SessionError> {
    page.map(|page| Follower::start(page, first)).transpose().map_err(SessionError::Metrics)
}

fn source(job: &Job, traffic: &Arc<Traffic>) -> Result<SharedSource, SessionError> {
    let header = |token: &str| {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| asked("a token has characters that no field may have"))?;
        value.set_sensitive(true);
        Ok(value)
    };
    let tenants = traffic.tenants();
    let tokens: Vec<HeaderValue> = match &job.tokens {
        Tokens::Minted => return Ok(traffic.clone()),
        Tokens::Fixed(token) => vec![header(token)?; tenants.len()],
        Tokens::ByTenant(tokens) => {
            let of = |tenant: &String| match tokens.get(tenant) {
                Some(token) => header(token),
                None => Err(asked(&format!("there is no token for tenant `{tenant}`"))),
            };
            tenants.iter().map(of).collect::<Result<_, _>>()?
        }
    };
    Ok(Arc::new(Bearer { traffic: traffic.clone(), tokens }))
}

fn asked(what: &str) -> SessionError {
    SessionError::Asked(what.to_owned())
}

fn start<T>(address: SocketAddr, part: impl FnOnce(SocketAddr) -> std::io::Result<T>) -> Result<T, SessionError> {
    part(address).map_err(|error| SessionError::Listen { address, error })
}
