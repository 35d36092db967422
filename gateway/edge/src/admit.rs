//! The ordered list of checks between a head and a body: cheapest and least trusting first. No body byte is read and
//! no guest runs for a stranger.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap};
use sluis_model::breaker::Pass;
use sluis_model::identity::Identity;
use sluis_model::limits::Permit;
use sluis_model::plan::Auth;
use sluis_model::refusal::{Refusal, TokenFault};

use crate::clock::Clock;
use crate::idempotency;
use crate::state::{App, Generation, RouteState, TenantState};
use crate::upstream::UpstreamState;

/// A request that may have its body read.
pub struct Admitted<'g> {
    /// Where it goes.
    pub route: &'g RouteState,
    /// Values of the path template.
    pub parameters: Vec<(String, String)>,
    /// Whose it is; none on public routes that are bound to no tenant.
    pub tenant: Option<Arc<TenantState>>,
    /// Who sent it; none on public routes.
    pub identity: Option<Arc<Identity>>,
    /// Leave of the default upstream's breaker and its permit, where that upstream is the only way to go.
    pub leave: Option<Leave>,
    /// Held until the answer is written.
    _permits: [Option<Permit>; 2],
}

/// An upstream's consent: its breaker lets the request through and it has room.
pub struct Leave {
    /// To be reported with the outcome.
    pub pass: Pass,
    /// Held until the answer is written.
    pub permit: Permit,
}

/// The head as the checks see it.
pub struct Head<'a> {
    /// Normalised host, where the request names one.
    pub host: Option<&'a str>,
    /// Normalised path.
    pub path: &'a str,
    /// The method.
    pub method: &'a http::Method,
    /// All fields.
    pub headers: &'a HeaderMap,
}

/// Facts learnt on the way, for the record, whatever the outcome.
#[derive(Default)]
pub struct Learnt {
    /// Position of the route.
    pub route: Option<usize>,
    /// The tenant's id, once verified.
    pub tenant: Option<Arc<TenantState>>,
}

/// The list. `now` is the moment at which the request began, in monotonic nanoseconds.
pub async fn admit<'g>(
    app: &App,
    generation: &'g Generation,
    head: Head<'_>,
    now: u64,
    learnt: &mut Learnt,
) -> Result<Admitted<'g>, Refusal> {
    // 1 Route: a look-up in memory decides most of what strangers try.
    let found = generation.plan.router.find(head.host, head.path, head.method)?;
    let route = &generation.routes[found.index];
    learnt.route = Some(found.index);

    // 2 Identity: before anything is counted against a tenant, it must be that tenant.
    let identity = identify(generation, route, head.headers).await?;
    let tenant = tenant_of(generation, route, identity.as_deref())?;
    learnt.tenant.clone_from(&tenant);

    // 3 Permits: from here on the request costs its tenant's share, and nobody else's.
    let mut permits = [None, None];
    if let Some(tenant) = &tenant {
        tenant.rate.try_acquire(now).map_err(Refusal::RateLimited)?;
        permits[0] = Some(tenant.in_flight.try_acquire().ok_or(Refusal::TenantBusy)?);
    }
    permits[1] = Some(app.in_flight.try_acquire().ok_or(Refusal::Overloaded)?);

    // 4 Idempotency has its place here: a replay needs neither upstream nor guest. What a key and a request are is told
    // by the body, so `serve` claims the key once that is there; until then step 5 has to wait, too.
    let keyed = idempotency::of(&route.route, head.method).is_some();

    // 5 Breaker and backlog: a way that is known to be shut is not walked to its end.
    let leave = match (&route.upstreams[..], &route.route.action.enqueue) {
        _ if keyed => None,
        ([only], None) => Some(leave(&only.state, now)?),
        ([], Some(enqueue)) => {
            if let Some(tenant) = &tenant {
                crate::enqueue::room(app, tenant, enqueue.lane)?;
            }
            None
        }
        _ => None,
    };

    // 6 Body and 7 plugin follow in `serve`, once all of this holds.
    let parameters = found.parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Ok(Admitted { route, parameters, tenant, identity, leave, _permits: permits })
}

/// Asks an upstream's calendar, its permits and its breaker.
pub fn leave(upstream: &UpstreamState, now: u64) -> Result<Leave, Refusal> {
    let wall = Clock::unix_millis();
    if let Some(end) = upstream.settings.maintenance.open_until(wall) {
        return Err(Refusal::UpstreamMaintenance(Duration::from_millis(end.saturating_sub(wall))));
    }
    let permit = upstream.permits.try_acquire().ok_or(Refusal::UpstreamBusy)?;
    let pass = upstream.breaker.admit(now).map_err(Refusal::CircuitOpen)?;
    Ok(Leave { pass, permit })
}

async fn identify(
    generation: &Generation,
    route: &RouteState,
    headers: &HeaderMap,
) -> Result<Option<Arc<Identity>>, Refusal> {
    let Auth::Jwt { issuers, scopes } = &route.route.auth else {
        return Ok(None);
    };
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let Some(credential) = credentials.next() else {
        return Err(Refusal::InvalidToken(TokenFault::Missing));
    };
    if credentials.next().is_some() {
        return Err(Refusal::AmbiguousCredentials);
    }
    let identity = generation.tokens.identify(credential.as_bytes(), issuers, Clock::unix_seconds()).await?;
    if !identity.has_scopes(scopes) {
        return Err(Refusal::InsufficientScope(route.scope_text.clone()));
    }
    Ok(Some(identity))
}

fn tenant_of(
    generation: &Generation,
    route: &RouteState,
    identity: Option<&Identity>,
) -> Result<Option<Arc<TenantState>>, Refusal> {
    let bound = route.route.tenant.as_ref();
    let id = match (identity, bound) {
        (None, None) => return Ok(None),
        (None, Some(bound)) => bound,
        (Some(identity), bound) => {
            let claimed = identity.tenant.as_ref().ok_or(Refusal::TenantMismatch)?;
            if bound.is_some_and(|bound| bound != claimed) {
                return Err(Refusal::TenantMismatch);
            }
            claimed
        }
    };
    generation.tenants.get(id).cloned().map(Some).ok_or(Refusal::TenantMismatch)
}
