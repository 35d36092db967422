//! Messages: a client's request read and checked, the request towards the upstream, the answer read, the answer written,
//! and what is counted of them all. Connections are canned, so that none of the kernel's work is among it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use pingora::protocols::http::ServerSession;
use sluis_bench::ORDER;
use sluis_edge::admit::Learnt;
use sluis_edge::body;
use sluis_edge::forward::h1::AnswerReader;
use sluis_edge::forward::head::{BodyLength, HeaderChange, Outgoing, Provenance};
use sluis_edge::head::Inbound;
use sluis_edge::record::Record;
use sluis_edge::reply;

use crate::canned::Canned;
use crate::house::{House, TENANT};
use crate::stage::{Prepared, Stage, async_turns, turns};

/// What stages that begin with a read head take off.
pub const HEAD: &str = "request/head";
/// The stage that reads a whole order.
pub const WHOLE: &str = "request/order";

/// As it is unless configured.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// An upstream's usual answer.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: erp/4.2\r\nDate: Fri, 20 Nov 2026 09:30:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 17\r\nConnection: keep-alive\r\n\r\n{\"accepted\":true}";

pub fn stages() -> Vec<Stage> {
    let body = |name: &'static str, length: usize| Stage::new(name, move |house| read(house, length)).beyond(HEAD);
    vec![
        Stage::new(HEAD, |house| read(house, 0)),
        body(WHOLE, ORDER.len()),
        body("request/64 KiB", 64 << 10),
        body("request/1 MiB", 1 << 20),
        Stage::new("head/check", |house| check(house)),
        Stage::new("record", |house| record(house)),
        Stage::new("forward/head", |house| forward_head(house)),
        Stage::new("forward/answer", |house| forward_answer(house)),
        Stage::new("reply", |house| answer(house)).beyond(WHOLE),
    ]
}

/// A session, its head, and its body of this many bytes.
fn read(house: &House, length: usize) -> Prepared<'_> {
    let request = request(house, length);
    async_turns(&house.runtime, async move || {
        let mut session = session(&request).await;
        let body = body::read_whole(&mut session, length, BODY_TIMEOUT).await;
        assert_eq!(black_box(body.unwrap()).len(), length);
    })
}

/// What is strict beyond the parser, and the target and the host normalised.
fn check(house: &House) -> Prepared<'_> {
    let session = house.runtime.block_on(session(&request(house, ORDER.len())));
    let limits = house.plan.server.limits;
    turns(move || {
        black_box(Inbound::read(&session, &limits).unwrap());
    })
}

/// What is known of a request, from its beginning to the counters at its end. No access log.
fn record(house: &House) -> Prepared<'_> {
    let session = house.runtime.block_on(session(&request(house, ORDER.len())));
    let inbound = Inbound::read(&session, &house.plan.server.limits).unwrap();
    let generation = house.app.generation.load_full();
    let (tenant, upstream) = (generation.tenants[TENANT].clone(), generation.upstreams["erp"].clone());
    turns(move || {
        let mut record = Record::begin(&house.app, &session);
        record.inbound(&inbound);
        record.learnt(Learnt { route: Some(0), tenant: Some(tenant.clone()) });
        record.upstream(&upstream.state.settings.name);
        record.answered(200);
        record.finish(&house.app, &generation, 17, false);
        black_box(record);
    })
}

/// The head for the upstream, with the gateway's own fields.
fn forward_head(house: &House) -> Prepared<'_> {
    let session = house.runtime.block_on(session(&request(house, ORDER.len())));
    let inbound = Inbound::read(&session, &house.plan.server.limits).unwrap();
    let record = Record::begin(&house.app, &session);
    let upstream = house.app.generation.load().upstreams["erp"].state.clone();
    let tenant: Arc<str> = TENANT.into();
    turns(move || {
        let outgoing = Outgoing {
            method: Method::POST,
            target: inbound.target(),
            change: HeaderChange::default(),
            nominated: Vec::new(),
            provenance: Provenance {
                correlation_id: record.correlation_id.clone(),
                traceparent: record.traceparent.clone(),
                tenant: Some(tenant.clone()),
                client: Some([127, 0, 0, 1].into()),
                tls: false,
            },
            length: BodyLength::Known(ORDER.len() as u64),
        };
        let headers = &session.req_header().headers;
        black_box(outgoing.encode_h1(headers, &upstream, upstream.endpoint(0), ORDER.len()));
    })
}

/// The upstream's answer, head and body.
fn forward_answer(house: &House) -> Prepared<'_> {
    async_turns(&house.runtime, async || {
        let mut reader = AnswerReader::new(ANSWER);
        let head = reader.read_head(false, 16 << 10).await.unwrap();
        let body = reader.read_body().await.unwrap().unwrap();
        assert!(reader.is_done());
        black_box((head, body));
    })
}

/// The answer to the client, until its connection is free for the next request.
fn answer(house: &House) -> Prepared<'_> {
    let request = request(house, ORDER.len());
    async_turns(&house.runtime, async move || {
        let mut session = session(&request).await;
        body::read_whole(&mut session, ORDER.len(), BODY_TIMEOUT).await.unwrap();
        let head = reply::json_head(200, &[("server", "erp/4.2")]).unwrap();
        let body = Bytes::from_static(b"{\"accepted\":true}");
        reply::respond(&mut session, head, body, "0123456789abcdef0123456789abcdef").await.unwrap();
        assert!(black_box(session.finish().await.unwrap()).is_some());
    })
}

async fn session(request: &Bytes) -> ServerSession {
    let mut session = ServerSession::new_http1(Box::new(Canned(request.clone())));
    assert!(session.read_request().await.unwrap());
    session
}

/// `POST /v1/orders` with a token, and a body of this many bytes.
fn request(house: &House, length: usize) -> Bytes {
    let token = house.issuer.token(TENANT, "user-0").unwrap();
    let mut request = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: erp-client/1.0\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend(ORDER.iter().cycle().take(length));
    request.into()
}
