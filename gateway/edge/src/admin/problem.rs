//! Every "no" of the operators' listener, as RFC 9457 problem+json.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use sluis_ledger::{OperateError, ReadError, RegistryError};
use sluis_model::refusal::Refusal;
use sluis_sandbox::LoadError;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::reply::PROBLEM_BASE;
use crate::rollouts::RolloutError;

/// What is answered instead.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Stable; what programs look at.
    #[serde(rename = "type", serialize_with = "kind")]
    #[schema(value_type = String)]
    slug: &'static str,
    /// For people.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// What of this request, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Why a component was rejected; stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip)]
    challenge: Option<String>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    fn new(status: u16, slug: &'static str, title: &'static str) -> Self {
        Problem { slug, title, status, detail: None, code: None, challenge: None, retry_after: None }
    }

    fn detail(self, detail: impl ToString) -> Self {
        Problem { detail: Some(detail.to_string()), ..self }
    }

    /// No such tenant, plugin or version, or not the caller's.
    pub fn not_found(what: &str) -> Self {
        Problem::new(404, "not-found", "There is no such thing").detail(format!("no such {what}"))
    }

    /// A path that does not take this method.
    pub fn method_not_allowed() -> Self {
        Problem::new(405, "method-not-allowed", "The path does not take this method")
    }

    /// Something in path, query or body is not what it must be.
    pub fn malformed(detail: impl ToString) -> Self {
        Problem::new(400, "malformed-request", "The request is not what it must be").detail(detail)
    }

    /// A component that is larger than it may be.
    pub fn too_large(limit: usize) -> Self {
        Problem::new(413, "plugin-too-large", "The component is too large").detail(format!("at most {limit} bytes"))
    }

    /// A JSON body that is larger than it may be.
    pub fn body_too_large() -> Self {
        Problem::from(&Refusal::BodyTooLarge)
    }

    /// A filter of a list that says nothing that could be looked for.
    pub fn invalid_filter(detail: impl ToString) -> Self {
        Problem::new(400, "invalid-filter", "The filter is not what it must be").detail(detail)
    }

    /// A cursor that no list gave out.
    pub fn invalid_cursor() -> Self {
        Problem::new(400, "invalid-cursor", "The cursor is none").detail("a cursor is the `next` of the page before")
    }

    /// An order about something that does not stand where it could be done.
    pub fn not_possible(detail: impl ToString) -> Self {
        Problem::new(409, "not-possible", "This cannot be done as things stand").detail(detail)
    }

    /// What is to be sent anew may undo what a newer event of its key did.
    pub fn overtaken() -> Self {
        Problem::new(409, "newer-delivered", "A newer event of its key was delivered meanwhile, or is under way")
            .detail("sent anew it may undo what the newer one did; `force` sends it all the same")
    }

    /// A job where another one of the same caller's is under way.
    pub fn job_running(id: Uuid) -> Self {
        Problem::new(409, "job-running", "Another job is under way")
            .detail(format!("wait for the job {id}, or cancel it"))
    }

    /// A job where all that are kept are under way.
    pub fn too_many_jobs() -> Self {
        let problem = Problem::new(503, "too-many-jobs", "Too many jobs are under way");
        Problem { retry_after: Some(5), ..problem }
    }

    /// Storage does not answer now.
    fn storage_unavailable() -> Self {
        let problem = Problem::new(503, "storage-unavailable", "Storage does not answer now");
        Problem { retry_after: Some(5), ..problem }
    }

    /// A body that came too slowly, or broke off.
    pub fn unread(detail: &str) -> Self {
        Problem::new(408, "request-timeout", "The request came too slowly").detail(detail)
    }

    /// The configuration names nobody who may do this.
    pub fn disabled() -> Self {
        Problem::new(403, "uploads-disabled", "Nobody may change anything here")
            .detail("`admin.auth` is not configured")
    }

    /// The operator wants nothing changed now.
    pub fn frozen(reason: &str) -> Self {
        Problem::new(423, "frozen", "What serves may not be changed now").detail(reason)
    }

    fn rejected(status: u16, error: &LoadError) -> Self {
        let problem = Problem::new(status, "plugin-rejected", "The component was rejected").detail(error);
        Problem { code: Some(error.code()), ..problem }
    }

    /// A component that would load, but must not be kept.
    fn failed(status: u16, code: &'static str, detail: impl ToString) -> Self {
        let problem = Problem::new(status, "plugin-rejected", "The component was rejected").detail(detail);
        Problem { code: Some(code), ..problem }
    }

    /// The stable word for metrics.
    pub fn label(&self) -> &'static str {
        self.code.unwrap_or(self.slug)
    }
}

fn kind<S: Serializer>(slug: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{PROBLEM_BASE}{slug}"))
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let answer = refusal.answer();
        Problem {
            challenge: crate::reply::challenge(refusal),
            retry_after: refusal.retry_after(),
            ..Problem::new(answer.status, answer.slug, answer.title)
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::TooLarge(limit) => Problem::too_large(limit),
            LoadError::CapabilityNotGranted(_) => Problem::rejected(403, &error),
            LoadError::Capacity => Problem { retry_after: Some(1), ..Problem::rejected(503, &error) },
            // Ours, not the component's.
            LoadError::Unreadable(_) | LoadError::Artefact(_) => Problem::from(&Refusal::Internal),
            _ => Problem::rejected(422, &error),
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let conflict = |slug, title| Problem::new(409, slug, title).detail(&error);
        match &error {
            RegistryError::VersionExists => conflict("version-exists", "Versions are immutable"),
            RegistryError::Older(_) => Problem::failed(403, "rollback-refused", &error),
            RegistryError::NoSuchVersion => Problem::not_found("version"),
            RegistryError::InUse => conflict("version-in-use", "The version is in use"),
            RegistryError::TooManyVersions | RegistryError::TooManyBytes => {
                Problem::new(429, "plugin-quota", "The tenant has no room for more versions").detail(&error)
            }
            RegistryError::Rollout(_) => conflict("rollout-conflict", "The rollout does not allow it"),
            RegistryError::Unavailable => Problem::storage_unavailable(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(_: ReadError) -> Self {
        Problem::storage_unavailable()
    }
}

impl From<OperateError> for Problem {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::NotFound => Problem::not_found("event, or none of its deliveries goes to that sink"),
            OperateError::NotPossible => Problem::not_possible(error),
            OperateError::Overtaken => Problem::overtaken(),
            OperateError::Full => (&Refusal::QueueFull).into(),
            OperateError::Unavailable => Problem::storage_unavailable(),
        }
    }
}

impl From<RolloutError> for Problem {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Load(error) => error.into(),
            RolloutError::Signature(error) => Problem::failed(403, "signature-invalid", error),
            RolloutError::Unreadable(error) => Problem::failed(422, "fixtures-malformed", error),
            RolloutError::Fixtures(_) => Problem::failed(422, "fixtures-failed", error),
            RolloutError::Registry(error) => error.into(),
            RolloutError::Frozen(reason) => Problem::frozen(&reason),
            RolloutError::Outdated => {
                Problem::new(409, "rollout-conflict", "The rollout does not allow it").detail(error)
            }
            RolloutError::GivenUp => Problem::storage_unavailable(),
            RolloutError::TenantBusy => {
                let problem = Problem::new(429, "too-many-uploads", "The tenant has too many uploads under way");
                Problem { retry_after: Some(1), ..problem }
            }
            RolloutError::Overloaded => (&Refusal::Overloaded).into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge.and_then(|text| text.parse().ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
