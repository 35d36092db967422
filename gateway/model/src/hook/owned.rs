//! What a hook is told, owned: for calls that do not run where they are waited for.

use super::{RequestView, ResponseView};

/// Names and values.
type Pairs = Vec<(String, String)>;

/// See [`RequestView`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each is the view's")]
pub struct OwnedRequest {
    pub method: String,
    pub path: String,
    pub query: String,
    pub route: String,
    pub parameters: Pairs,
    pub headers: Pairs,
    pub tenant: String,
    pub subject: String,
    pub claims: String,
    pub correlation_id: String,
    pub body: Vec<u8>,
}

/// See [`ResponseView`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each is the view's")]
pub struct OwnedResponse {
    pub status: u16,
    pub headers: Pairs,
    pub body: Vec<u8>,
    pub route: String,
    pub tenant: String,
    pub correlation_id: String,
}

/// Pairs as a view has them.
pub fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (&**name, &**value)).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl From<RequestView<'_>> for OwnedRequest {
    fn from(view: RequestView<'_>) -> Self {
        OwnedRequest {
            method: view.method.to_owned(),
            path: view.path.to_owned(),
            query: view.query.to_owned(),
            route: view.route.to_owned(),
            parameters: owned(view.parameters),
            headers: owned(view.headers),
            tenant: view.tenant.to_owned(),
            subject: view.subject.to_owned(),
            claims: view.claims.to_owned(),
            correlation_id: view.correlation_id.to_owned(),
            body: view.body.to_owned(),
        }
    }
}

impl OwnedRequest {
    /// A view of it, with its [`borrowed`] parameters and fields.
    pub fn view<'a>(
        &'a self,
        parameters: &'a [(&'a str, &'a str)],
        headers: &'a [(&'a str, &'a str)],
    ) -> RequestView<'a> {
        RequestView {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            route: &self.route,
            parameters,
            headers,
            tenant: &self.tenant,
            subject: &self.subject,
            claims: &self.claims,
            correlation_id: &self.correlation_id,
            body: &self.body,
        }
    }
}

impl From<ResponseView<'_>> for OwnedResponse {
    fn from(view: ResponseView<'_>) -> Self {
        OwnedResponse {
            status: view.status,
            headers: owned(view.headers),
            body: view.body.to_owned(),
            route: view.route.to_owned(),
            tenant: view.tenant.to_owned(),
            correlation_id: view.correlation_id.to_owned(),
        }
    }
}

impl OwnedResponse {
    /// A view of it, with its [`borrowed`] fields.
    pub fn view<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> ResponseView<'a> {
        ResponseView {
            status: self.status,
            headers,
            body: &self.body,
            route: &self.route,
            tenant: &self.tenant,
            correlation_id: &self.correlation_id,
        }
    }
}
