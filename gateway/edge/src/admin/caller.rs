//! Who asks on the operators' listener, and what of whom they may see.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sluis_ledger::{Actor, By, OPERATOR};
use sluis_model::plan::AdminAuth;
use sluis_model::refusal::{Refusal, TokenFault};

use super::problem::Problem;
use crate::clock::Clock;
use crate::rollouts::Rollouts;
use crate::state::{App, Generation, TenantState};

/// Longest reason that is kept, characters.
const REASON: usize = 500;

/// Whoever sent a token that may change plugins: those of its tenant, or all.
pub struct Caller {
    subject: String,
    reach: Reach,
    /// The plan that the token was looked at with.
    pub generation: Arc<Generation>,
}

/// Whoever sent a token that may look after events: those of its tenant, or all.
pub struct EventsCaller(Caller);

/// Whoever may see the plan and what it stands on, which tell of every tenant: operators, where the plan says who they
/// are; where it does not, whoever reaches the listener.
pub struct Viewer {
    /// The plan in force, which a token was looked at with.
    pub generation: Arc<Generation>,
}

enum Reach {
    Everything,
    Tenant(Arc<str>),
}

impl Caller {
    /// The tenant of this id; to a caller who may not see it there is none.
    pub fn tenant(&self, id: &str) -> Result<&Arc<TenantState>, Problem> {
        let seen = match &self.reach {
            Reach::Everything => true,
            Reach::Tenant(own) => **own == *id,
        };
        self.generation.tenants.get(id).filter(|_| seen).ok_or_else(|| Problem::not_found("tenant"))
    }

    /// Whether every tenant's plugins are theirs to change.
    pub fn operates(&self) -> bool {
        matches!(self.reach, Reach::Everything)
    }

    /// As who an action goes into the audit.
    pub fn actor(&self, reason: Option<&str>) -> Actor {
        Actor { name: self.subject.clone(), reason: kept(reason) }
    }

    /// `scope` is what a tenant's token needs.
    async fn identify(
        parts: &Parts,
        generation: Arc<Generation>,
        scope: fn(&AdminAuth) -> &Arc<str>,
    ) -> Result<Caller, Problem> {
        let Some(auth) = &generation.plan.admin.auth else { return Err(Problem::disabled()) };
        let mut credentials = parts.headers.get_all(AUTHORIZATION).iter();
        let refuse = |refusal: Refusal| Problem::from(&refusal);
        let credential = credentials.next().ok_or(refuse(Refusal::InvalidToken(TokenFault::Missing)))?;
        if credentials.next().is_some() {
            return Err(refuse(Refusal::AmbiguousCredentials));
        }
        let now = Clock::unix_seconds();
        let identity = generation.tokens.identify(credential.as_bytes(), &auth.issuers, now).await.map_err(refuse)?;
        let reach = if identity.has_scopes(std::slice::from_ref(&auth.operate_scope)) {
            Reach::Everything
        } else if identity.has_scopes(std::slice::from_ref(scope(auth))) {
            Reach::Tenant(identity.tenant.clone().ok_or(refuse(Refusal::TenantMismatch))?)
        } else {
            return Err(refuse(Refusal::InsufficientScope(scope(auth).clone())));
        };
        Ok(Caller { subject: identity.subject.to_string(), reach, generation })
    }
}

impl EventsCaller {
    /// The plan that the token was looked at with.
    pub fn generation(&self) -> &Generation {
        &self.0.generation
    }

    /// The only tenant whose events they may see; none for those who may see all.
    pub fn only(&self) -> Option<&Arc<str>> {
        match &self.0.reach {
            Reach::Everything => None,
            Reach::Tenant(own) => Some(own),
        }
    }

    /// Whose events are asked for, where the question names a tenant or not; to a caller who may not see it there is
    /// none.
    pub fn whose(&self, asked: Option<String>) -> Result<Option<Arc<str>>, Problem> {
        match (self.only(), asked) {
            (None, asked) => Ok(asked.map(Into::into)),
            (Some(own), asked) if asked.as_ref().is_none_or(|asked| **own == **asked) => Ok(Some(own.clone())),
            (Some(_), _) => Err(Problem::not_found("tenant")),
        }
    }

    /// Nobody but operators goes on from here.
    pub fn must_operate(&self) -> Result<(), Problem> {
        match (self.only(), &self.generation().plan.admin.auth) {
            (Some(_), Some(auth)) => Err((&Refusal::InsufficientScope(auth.operate_scope.clone())).into()),
            _ => Ok(()),
        }
    }

    /// As who an order goes into history and audit.
    pub fn by(&self, reason: Option<&str>) -> By {
        let kind = if self.0.operates() { OPERATOR } else { "tenant:" };
        By { actor: format!("{kind}{}", self.0.subject), reason: kept(reason) }
    }
}

/// The plan in force.
fn in_force<S>(state: &S) -> Arc<Generation>
where
    Arc<Rollouts>: FromRef<S>,
{
    Arc::<Rollouts>::from_ref(state).app().generation.load_full()
}

/// What is kept of a reason.
fn kept(reason: Option<&str>) -> String {
    reason.unwrap_or_default().chars().filter(|c| !c.is_control()).take(REASON).collect()
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Arc<Rollouts>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Caller::identify(parts, in_force(state), |auth| &auth.deploy_scope).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for EventsCaller
where
    Arc<Rollouts>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Caller::identify(parts, in_force(state), |auth| &auth.events_scope).await.map(EventsCaller)
    }
}

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let generation = app.generation.load_full();
        if generation.plan.admin.auth.is_some() {
            Caller::identify(parts, generation.clone(), |auth| &auth.operate_scope).await?;
        }
        Ok(Viewer { generation })
    }
}
