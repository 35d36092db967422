//! The records of `wit/` as they cross the border: requests are lowered straight from what they borrow, results are
//! lifted into owned values, and neither is kept.

use sluis_model::hook::event::{self, EventView, SinkAnswer};
use sluis_model::hook::{self, RequestView, ResponseView};
use sluis_model::refusal::GuestProblem;
use wasmtime::component::{ComponentType, Lift, Lower};

/// Interface and function of each hook.
pub(crate) const ON_REQUEST: (&str, &str) = ("sluis:plugin/on-request@1.0.0", "on-request");
pub(crate) const ON_REQUEST_HEAD: (&str, &str) = ("sluis:plugin/on-request-head@1.0.0", "on-request-head");
pub(crate) const ON_RESPONSE: (&str, &str) = ("sluis:plugin/on-response@1.0.0", "on-response");

pub(crate) const ON_EVENT: &str = "sluis:plugin/on-event@1.0.0";
pub(crate) const SHAPE: (&str, &str) = (ON_EVENT, "shape");
pub(crate) const JUDGE: (&str, &str) = (ON_EVENT, "judge");

type PairsIn<'a> = &'a [(&'a str, &'a str)];
type Pairs = Vec<(String, String)>;

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    route: &'a str,
    parameters: PairsIn<'a>,
    headers: PairsIn<'a>,
    tenant: &'a str,
    subject: &'a str,
    claims: &'a str,
    #[component(name = "correlation-id")]
    correlation_id: &'a str,
    body: &'a [u8],
    extra: PairsIn<'a>,
}

impl<'a> From<RequestView<'a>> for Request<'a> {
    fn from(view: RequestView<'a>) -> Self {
        Request {
            method: view.method,
            path: view.path,
            query: view.query,
            route: view.route,
            parameters: view.parameters,
            headers: view.headers,
            tenant: view.tenant,
            subject: view.subject,
            claims: view.claims,
            correlation_id: view.correlation_id,
            body: view.body,
            extra: &[],
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Response<'a> {
    status: u16,
    headers: PairsIn<'a>,
    body: &'a [u8],
    route: &'a str,
    tenant: &'a str,
    #[component(name = "correlation-id")]
    correlation_id: &'a str,
    extra: PairsIn<'a>,
}

impl<'a> From<ResponseView<'a>> for Response<'a> {
    fn from(view: ResponseView<'a>) -> Self {
        Response {
            status: view.status,
            headers: view.headers,
            body: view.body,
            route: view.route,
            tenant: view.tenant,
            correlation_id: view.correlation_id,
            extra: &[],
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Decision {
    #[component(name = "forward")]
    Forward(Forward),
    #[component(name = "enqueue")]
    Enqueue(Enqueue),
    #[component(name = "respond")]
    Respond(Respond),
    #[component(name = "refuse")]
    Refuse(Problem),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Forward {
    upstream: Option<String>,
    path: Option<String>,
    #[component(name = "set-headers")]
    set_headers: Pairs,
    #[component(name = "remove-headers")]
    remove_headers: Vec<String>,
    body: Option<Vec<u8>>,
    #[allow(dead_code, reason = "nothing can be asked this way yet")]
    extra: Pairs,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Enqueue {
    #[component(name = "event-type")]
    event_type: Option<String>,
    key: Option<String>,
    #[component(name = "content-type")]
    content_type: Option<String>,
    body: Option<Vec<u8>>,
    sinks: Vec<String>,
    #[allow(dead_code, reason = "nothing can be asked this way yet")]
    extra: Pairs,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Respond {
    status: u16,
    headers: Pairs,
    body: Vec<u8>,
    #[allow(dead_code, reason = "nothing can be asked this way yet")]
    extra: Pairs,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Problem {
    status: u16,
    kind: String,
    title: String,
    detail: String,
    pointer: Option<String>,
    #[allow(dead_code, reason = "nothing can be asked this way yet")]
    extra: Pairs,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ResponseChange {
    status: Option<u16>,
    #[component(name = "set-headers")]
    set_headers: Pairs,
    #[component(name = "remove-headers")]
    remove_headers: Vec<String>,
    body: Option<Vec<u8>>,
    #[allow(dead_code, reason = "nothing can be asked this way yet")]
    extra: Pairs,
}

impl From<Decision> for hook::Decision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Forward(forward) => hook::Decision::Forward(hook::Forward {
                upstream: forward.upstream,
                path: forward.path,
                set_headers: forward.set_headers,
                remove_headers: forward.remove_headers,
                body: forward.body,
            }),
            Decision::Enqueue(enqueue) => hook::Decision::Enqueue(hook::EnqueueDecision {
                event_type: enqueue.event_type,
                key: enqueue.key,
                content_type: enqueue.content_type,
                body: enqueue.body,
                sinks: enqueue.sinks,
            }),
            Decision::Respond(respond) => hook::Decision::Respond(hook::ResponseChange {
                status: Some(respond.status),
                set_headers: respond.headers,
                remove_headers: Vec::new(),
                body: Some(respond.body),
            }),
            Decision::Refuse(problem) => hook::Decision::Refuse(GuestProblem {
                status: problem.status,
                kind: problem.kind,
                title: problem.title,
                detail: problem.detail,
                pointer: problem.pointer,
            }),
        }
    }
}

impl From<ResponseChange> for hook::ResponseChange {
    fn from(change: ResponseChange) -> Self {
        hook::ResponseChange {
            status: change.status,
            set_headers: change.set_headers,
            remove_headers: change.remove_headers,
            body: change.body,
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Event<'a> {
    id: &'a str,
    #[component(name = "event-type")]
    event_type: &'a str,
    key: Option<&'a str>,
    sink: &'a str,
    route: &'a str,
    tenant: &'a str,
    #[component(name = "correlation-id")]
    correlation_id: &'a str,
    #[component(name = "accepted-at")]
    accepted_at: u64,
    attempt: u32,
    #[component(name = "content-type")]
    content_type: &'a str,
    body: &'a [u8],
    extra: PairsIn<'a>,
}

impl<'a> From<EventView<'a>> for Event<'a> {
    fn from(view: EventView<'a>) -> Self {
        Event {
            id: view.id,
            event_type: view.event_type,
            key: view.key,
            sink: view.sink,
            route: view.route,
            tenant: view.tenant,
            correlation_id: view.correlation_id,
            accepted_at: view.accepted_at,
            attempt: view.attempt,
            content_type: view.content_type,
            body: view.body,
            extra: &[],
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Answer<'a> {
    status: u16,
    headers: PairsIn<'a>,
    body: &'a [u8],
    extra: PairsIn<'a>,
}

impl<'a> From<SinkAnswer<'a>> for Answer<'a> {
    fn from(answer: SinkAnswer<'a>) -> Self {
        Answer { status: answer.status, headers: answer.headers, body: answer.body, extra: &[] }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Shaped {
    #[component(name = "content-type")]
    content_type: Option<String>,
    #[component(name = "set-headers")]
    set_headers: Pairs,
    body: Option<Vec<u8>>,
    #[allow(dead_code, reason = "nothing can be asked this way yet")]
    extra: Pairs,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Preparation {
    #[component(name = "send")]
    Send(Shaped),
    #[component(name = "done")]
    Done(String),
    #[component(name = "dead")]
    Dead(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Verdict {
    #[component(name = "done")]
    Done(String),
    #[component(name = "retry")]
    Retry(Option<u32>),
    #[component(name = "dead")]
    Dead(String),
}

impl From<Preparation> for event::Preparation {
    fn from(preparation: Preparation) -> Self {
        match preparation {
            Preparation::Send(Shaped { content_type, set_headers, body, .. }) => {
                event::Preparation::Send(event::Shaped { content_type, set_headers, body })
            }
            Preparation::Done(reason) => event::Preparation::Done(reason),
            Preparation::Dead(reason) => event::Preparation::Dead(reason),
        }
    }
}

impl From<Verdict> for event::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done(reason) => event::Verdict::Done(reason),
            Verdict::Retry(seconds) => event::Verdict::Retry(seconds),
            Verdict::Dead(reason) => event::Verdict::Dead(reason),
        }
    }
}
