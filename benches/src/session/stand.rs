//! The parts that a run brings along: tokens and their issuer, and an ERP stand-in that tells what arrived.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::bearer::Bearer;
use super::{Job, SessionError, SharedSource, Tokens, run_name};
use crate::gateway::{Follower, Page};
use crate::issuer::{Algorithm, Issuer, LIFETIME};
use crate::load::{Source, Stop};
use crate::parts::{Behaviour, Erp, Idp};
use crate::result::Delivery;
use crate::workload::Traffic;
use crate::workload::orders::LIMIT;

/// Between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(20);
/// What tokens live beyond a run: for signing the rest, for the start, and for clocks that differ.
const SPARE: Duration = Duration::from_secs(5 * 60);
/// What a gateway takes at most, unless it is told otherwise.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

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
    /// Where it signs the tokens.
    minted: Option<Minted>,
    jwks: Option<String>,
    idp: Option<Idp>,
    erp: Option<Erp>,
    metrics: Option<Page>,
    drain: Duration,
}

/// Who signed the tokens, when, and how long they are good for.
struct Minted {
    issuer: Issuer,
    at: Instant,
    lifetime: Duration,
}

impl Minted {
    /// Whether the tokens had better be signed anew for this job.
    fn is_old(&self, job: &Job) -> bool {
        let age = self.at.elapsed();
        age > self.lifetime / 2 || age.saturating_add(lasts(job)) > self.lifetime
    }
}

impl Stand {
    /// Signs the tokens and starts the parts, for a run of its own.
    ///
    /// # Errors
    /// When the workload cannot be meant, or a part cannot listen.
    pub fn new(job: &Job, around: Surroundings) -> Result<Stand, SessionError> {
        Stand::of(job, around, &run_name())
    }

    /// As [`Stand::new`], for a share of the run whose orders' names begin with `run`.
    ///
    /// # Errors
    /// As there.
    pub fn of(job: &Job, around: Surroundings, run: &str) -> Result<Stand, SessionError> {
        job.check()?;
        if around.erp.is_some() {
            fits_a_book(job)?;
        }
        let mut workload = job.workload.clone();
        let issuer = match job.tokens {
            Tokens::Minted => Issuer::with(&Algorithm::ALL),
            // None are signed: each request gets one that is there already.
            _ => {
                workload.request.anonymous = Some(true);
                Issuer::new()
            }
        };
        let mut issuer = issuer.map_err(SessionError::Tokens)?;
        let (at, lifetime) = (Instant::now(), lifetime(job));
        issuer.set_lifetime(lifetime);
        let traffic = Traffic::new(&workload, &issuer, run).map_err(SessionError::Tokens)?;
        let traffic = Arc::new(traffic);
        let minted = (job.tokens == Tokens::Minted).then_some(Minted { issuer, at, lifetime });
        let jwks = minted.as_ref().map(|minted| minted.issuer.jwks());
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
        Ok(Stand { source, traffic, minted, jwks, idp, erp, metrics: around.metrics, drain: around.drain })
    }

    /// Makes ready for one more run of the same workload. Its orders have other names, so that no gateway takes them for
    /// repetitions and nothing that comes late of the run before is counted; tokens are signed anew where they are old.
    ///
    /// # Errors
    /// When it cannot sign, or the job has too many orders to look after.
    pub fn renew(&mut self, job: &Job) -> Result<(), SessionError> {
        if self.erp.is_some() {
            fits_a_book(job)?;
        }
        let traffic = Arc::new(self.traffic.renewed(&run_name()));
        if let Some(minted) = &mut self.minted
            && minted.is_old(job)
        {
            (minted.at, minted.lifetime) = (Instant::now(), lifetime(job));
            minted.issuer.set_lifetime(minted.lifetime);
            traffic.renew_tokens(&minted.issuer).map_err(SessionError::Tokens)?;
        }
        let source = source(job, &traffic)?;
        if let Some(erp) = &self.erp {
            erp.forget(self.traffic.run());
            erp.expect(traffic.run(), traffic.orders().clone());
        }
        (self.source, self.traffic) = (source, traffic);
        Ok(())
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

    /// Waits for what was accepted to arrive, at most as long as was asked for or until it is stopped.
    pub(crate) fn delivery(&self, stop: &Stop) -> Option<Delivery> {
        self.erp.as_ref()?;
        let (orders, began) = (self.traffic.orders(), Instant::now());
        while orders.outstanding() > 0 && began.elapsed() < self.drain {
            if stop.told().is_some() {
                return Some(orders.delivery().cut_short());
            }
            std::thread::park_timeout(LOOK);
        }
        Some(orders.delivery())
    }
}

/// Begins to read a gateway's metrics. Times count from `first`.
pub(crate) fn follow(page: Option<&Page>, first: Instant) -> Result<Option<Follower>, SessionError> {
    page.map(|page| Follower::start(page, first)).transpose().map_err(SessionError::Metrics)
}

/// From signing to the last answer, at most.
fn lasts(job: &Job) -> Duration {
    let sending = job.warm_up.saturating_add(job.schedule.duration());
    sending.saturating_add(job.timeout.saturating_mul(2)).saturating_add(SPARE)
}

/// Tokens outlive the run that sends them, as far as gateways let them.
fn lifetime(job: &Job) -> Duration {
    lasts(job).clamp(LIFETIME, LONGEST_LIFETIME)
}

/// Of orders past a book's limit nothing would be known, which is no verdict on what arrived.
fn fits_a_book(job: &Job) -> Result<(), SessionError> {
    let warm_up = job.schedule.warm_up(job.warm_up).map_err(|error| asked(&format!("warm-up: {error}")))?;
    let moments = job.schedule.total() + warm_up.map_or(0, |warm_up| warm_up.total());
    if moments > LIMIT {
        let text = format!("{moments} requests, warm-up and all, are too many for the ERP stand-in; at most {LIMIT}");
        return Err(asked(&text));
    }
    Ok(())
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
