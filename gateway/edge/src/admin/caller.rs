//! Who asks on the operators' listener, and whose plugins they may see.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sluis_ledger::Actor;
use sluis_model::refusal::{Refusal, TokenFault};

use super::problem::Problem;
use crate::clock::Clock;
use crate::rollouts::Rollouts;
use crate::state::{Generation, TenantState};

/// Longest reason that is kept, characters.
const REASON: usize = 500;

/// Whoever sent a token with one of the two scopes of `admin.auth`.
pub struct Caller {
    subject: String,
    reach: Reach,
    /// The plan that the token was looked at with.
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
        let reason = reason.unwrap_or_default().chars().filter(|c| !c.is_control()).take(REASON).collect();
        Actor { name: self.subject.clone(), reason }
    }
}

impl FromRequestParts<Arc<Rollouts>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, rollouts: &Arc<Rollouts>) -> Result<Self, Problem> {
        let generation = rollouts.app().generation.load_full();
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
        } else if identity.has_scopes(std::slice::from_ref(&auth.deploy_scope)) {
            Reach::Tenant(identity.tenant.clone().ok_or(refuse(Refusal::TenantMismatch))?)
        } else {
            return Err(refuse(Refusal::InsufficientScope(auth.deploy_scope.clone())));
        };
        Ok(Caller { subject: identity.subject.to_string(), reach, generation: generation.clone() })
    }
}
