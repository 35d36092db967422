//! The system behind the gateway where nothing is to go wrong: takes any request and says so, and serves the issuer's keys.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use crate::component::MARK_FIELD;
use crate::parts::server::{Answer, Handler, Server};

/// Starts one on a free port, on a thread that lives as long as the process. The field that order-map sets comes back
/// in the answer.
pub fn start(jwks: String) -> std::io::Result<SocketAddr> {
    let server = Server::start("upstream", ([127, 0, 0, 1], 0).into(), Arc::new(Upstream { jwks: jwks.into() }))?;
    let address = server.address();
    // It would end with its handle.
    std::mem::forget(server);
    Ok(address)
}

struct Upstream {
    jwks: Bytes,
}

impl Handler for Upstream {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let keys = request.uri().path() == "/jwks.json";
        let mark = request.headers().get(MARK_FIELD).cloned();
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        let text = if keys { self.jwks.clone() } else { Bytes::from_static(b"{\"accepted\":true}") };
        let mut response = Response::new(Full::new(text));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(mark) = mark {
            response.headers_mut().insert(MARK_FIELD, mark);
        }
        Ok(response)
    }
}
