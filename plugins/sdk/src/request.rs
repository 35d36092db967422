use crate::Request;

impl Request {
    /// A request for tests, of route, tenant and correlation id `test`, `test` and `test-1`, without headers.
    #[cfg(not(target_family = "wasm"))]
    pub fn sample(method: &str, path: &str, body: &[u8]) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            query: Default::default(),
            route: "test".into(),
            parameters: Default::default(),
            headers: Default::default(),
            tenant: "test".into(),
            subject: "tester".into(),
            claims: "{}".into(),
            correlation_id: "test-1".into(),
            body: body.into(),
            extra: Default::default(),
        }
    }

    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The value of the parameter `name` of the route's path template.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        first(&self.parameters, name)
    }
}

/// The first value of `name` among `pairs`.
pub(crate) fn first<'a, N: AsRef<str>, V: AsRef<str>>(pairs: &'a [(N, V)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n.as_ref() == name).map(|(_, value)| value.as_ref())
}
