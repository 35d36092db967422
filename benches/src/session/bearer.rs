//! Requests with tokens that somebody else made.

use http::HeaderValue;
use http::header::AUTHORIZATION;

use crate::load::{Planned, Source};
use crate::workload::Traffic;

/// A workload's requests, each with the token of its tenant.
pub struct Bearer {
    /// The requests; their own tokens are replaced.
    pub traffic: std::sync::Arc<Traffic>,
    /// By tenant.
    pub tokens: Vec<HeaderValue>,
}

impl Source for Bearer {
    fn tenants(&self) -> &[String] {
        self.traffic.tenants()
    }

    fn plan(&self, number: u64) -> Planned {
        let mut planned = self.traffic.plan(number);
        if let Some(token) = self.tokens.get(planned.tenant) {
            planned.request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        planned
    }

    fn tenant(&self, number: u64) -> usize {
        self.traffic.tenant(number)
    }

    fn answered(&self, order: u64, status: Option<u16>) {
        self.traffic.answered(order, status);
    }
}
