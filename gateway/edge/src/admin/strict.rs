//! What comes in, taken at its word: whatever is not known or not what it must be is a problem that says so.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use super::problem::Problem;

/// A JSON body whose refusal is a problem; an empty body is an empty object.
pub struct Strict<T>(pub T);

impl<T: for<'de> Deserialize<'de>, S: Send + Sync> FromRequest<S> for Strict<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::body_too_large(),
            _ => Problem::malformed(error.body_text()),
        })?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        match Json::from_bytes(text) {
            Ok(Json(value)) => Ok(Strict(value)),
            Err(error) => Err(Problem::malformed(error.body_text())),
        }
    }
}

/// A query whose refusal is a problem; its type refuses parameters that it does not know.
pub struct StrictQuery<T>(pub T);

impl<T: for<'de> Deserialize<'de>, S: Send + Sync> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(StrictQuery(value)),
            Err(error) => Err(Problem::malformed(error.body_text())),
        }
    }
}

/// The id in a path. What is no id is nobody's.
pub struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(Problem::not_found("id"));
        };
        Uuid::try_parse(&text).map(Id).map_err(|_| Problem::not_found("id"))
    }
}
