//! An ERP stand-in for demo and tests. It speaks as much of SAP Business One's Service Layer and of ERPNext's REST
//! API as taking sales orders needs, keeps in memory what it got, tells a redelivered event from a new one, and can
//! be slowed or broken by `POST /_fault`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::documents::{self, Summary, System};
use super::fault::Faults;
use super::filing::{Arrival, Cabinet, Filed, Full, Record};

/// Largest document taken.
const BODY_LIMIT: usize = 16 << 20;
/// CloudEvents `id`, as HTTP's binary mode carries it.
const EVENT_ID: &str = "ce-id";
const EVENT_ID_LIMIT: usize = 255;

/// Settings of an ERP stand-in.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7001")]
    pub address: SocketAddr,
    /// Every answer takes this much longer.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
}

/// The stand-in's routes:
///
/// | Route | Answer |
/// |---|---|
/// | `POST /b1s/v2/Orders` | 201, a SAP Business One `Order` |
/// | `POST /api/resource/Sales%20Order` | 200, an ERPNext `Sales Order` |
/// | `POST /events/orders` | either document as an event; needs `ce-id` |
/// | `POST /events/{stream}` | anything as an event; needs `ce-id` |
/// | `ANY /echo/…` | what came, as JSON, the body as its length and SHA-256 |
/// | `GET /_orders` | what it holds; `?after=NUMBER`, `?limit=`, `?event=`, `?document=` |
/// | `DELETE /_orders` | forgets everything |
/// | `GET /_events` | how often each event id was delivered |
/// | `GET /_stats` | counts |
/// | `GET`, `POST /_fault` | see [`super::fault`] |
pub fn router(cabinet: Arc<Cabinet>, faults: &Arc<Faults>) -> Router {
    Router::new()
        .route("/b1s/v2/Orders", post(sap_order))
        .route("/api/resource/{doctype}", post(erpnext_order))
        .route("/events/{stream}", post(event))
        .route("/echo", any(echo))
        .route("/echo/{*rest}", any(echo))
        .route("/_orders", get(list).delete(forget))
        .route("/_events", get(events))
        .route("/_stats", get(stats))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(cabinet)
        .merge(faults.router())
}

/// Runs `sluis demo erp` until `stop` ends. The first line on standard output says where it listens.
///
/// # Errors
/// When the address cannot be taken.
#[allow(clippy::print_stdout)]
pub async fn run(args: &Args, stop: impl Future<Output = ()>) -> Result<(), super::DemoError> {
    let listener = super::bind(args.address, "--address").await?;
    let address = listener.local_addr().unwrap_or(args.address);
    let faults = Faults::new(Duration::from_millis(args.latency_ms));
    println!("ERP stand-in listening on http://{address}");
    super::serve::serve(listener, router(Arc::default(), &faults), faults, stop).await;
    Ok(())
}

async fn sap_order(State(cabinet): State<Arc<Cabinet>>, headers: HeaderMap, body: Bytes) -> Response {
    file(&cabinet, "/b1s/v2/Orders", Some(System::Sap), documents::read(System::Sap, &body).map(Some), &headers, body)
}

async fn erpnext_order(
    State(cabinet): State<Arc<Cabinet>>,
    Path(doctype): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if doctype != "Sales Order" {
        return refuse(Some(System::ErpNext), StatusCode::NOT_FOUND, &format!("DocType {doctype} not found"));
    }
    let read = documents::read(System::ErpNext, &body).map(Some);
    file(&cabinet, "/api/resource/Sales Order", Some(System::ErpNext), read, &headers, body)
}

async fn event(
    State(cabinet): State<Arc<Cabinet>>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if headers.get(EVENT_ID).is_none() {
        return refuse(None, StatusCode::BAD_REQUEST, "an event needs ce-id");
    }
    let read = if stream == "orders" { documents::read_either(&body).map(Some) } else { Ok(None) };
    file(&cabinet, &format!("/events/{stream}"), None, read, &headers, body)
}

/// Files a document that was read, or says in the words of `dialect` why not.
fn file(
    cabinet: &Cabinet,
    path: &str,
    dialect: Option<System>,
    read: Result<Option<Summary>, String>,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let event_id = text(EVENT_ID);
    if event_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > EVENT_ID_LIMIT) {
        return refuse(dialect, StatusCode::BAD_REQUEST, "ce-id is empty or too long");
    }
    let summary = match read {
        Ok(summary) => summary,
        Err(reason) => {
            cabinet.count_refused();
            let status =
                if dialect == Some(System::ErpNext) { StatusCode::EXPECTATION_FAILED } else { StatusCode::BAD_REQUEST };
            return refuse(dialect, status, &reason);
        }
    };
    let arrival = Arrival {
        path: path.to_owned(),
        event_id,
        correlation_id: text("x-correlation-id"),
        source: text("ce-source"),
        summary,
        body,
        at: OffsetDateTime::now_utc(),
    };
    match cabinet.file(arrival) {
        Ok(Filed::New(record)) => confirm(&record, false),
        Ok(Filed::Again(record)) => confirm(&record, true),
        Err(Full) => refuse(dialect, StatusCode::INSUFFICIENT_STORAGE, "the stand-in's memory is full"),
    }
}

/// What the system whose document it is answers to it.
fn confirm(record: &Record, again: bool) -> Response {
    let repeated: Option<[(&str, &str); 1]> = again.then_some([("x-duplicate", "true")]);
    let Some(summary) = &record.summary else {
        return (repeated, Json(json!({ "document": record.document }))).into_response();
    };
    // A number of so few digits prints as it was read.
    let total: Value = serde_json::from_str(&summary.total.to_string()).unwrap_or_default();
    match summary.system {
        System::Sap => {
            let location = format!("/b1s/v2/Orders({})", record.number);
            let body = json!({
                "@odata.context": "/b1s/v2/$metadata#Orders/$entity",
                "DocEntry": record.number,
                "DocNum": record.number,
                "CardCode": summary.customer,
                "NumAtCard": summary.reference,
                "DocCurrency": summary.currency,
                "DocTotal": total,
                "DocumentStatus": "bost_Open",
            });
            let status = if again { StatusCode::OK } else { StatusCode::CREATED };
            (status, repeated, [(header::LOCATION, location)], Json(body)).into_response()
        }
        System::ErpNext => {
            let data = json!({
                "doctype": "Sales Order",
                "name": record.document,
                "customer": summary.customer,
                "po_no": summary.reference,
                "currency": summary.currency,
                "grand_total": total,
                "docstatus": 0,
                "status": "Draft",
            });
            (repeated, Json(json!({ "data": data }))).into_response()
        }
    }
}

fn refuse(dialect: Option<System>, status: StatusCode, reason: &str) -> Response {
    let body = match dialect {
        Some(System::Sap) => json!({ "error": { "code": "-1004", "message": reason } }),
        Some(System::ErpNext) => json!({
            "exc_type": "ValidationError",
            "exception": format!("frappe.exceptions.ValidationError: {reason}"),
        }),
        None => json!({ "error": reason }),
    };
    (status, Json(body)).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    #[serde(default)]
    after: u64,
    #[serde(default = "default_limit")]
    limit: usize,
    event: Option<String>,
    document: Option<String>,
}

fn default_limit() -> usize {
    1000
}

async fn list(State(cabinet): State<Arc<Cabinet>>, Query(listing): Query<Listing>) -> Json<Value> {
    let wanted = |record: &Record| {
        listing.event.as_ref().is_none_or(|id| record.event_id.as_ref() == Some(id))
            && listing.document.as_ref().is_none_or(|document| record.document == *document)
    };
    let orders = cabinet.list(listing.after, listing.limit.min(10_000), wanted);
    Json(json!({ "count": cabinet.stats().documents, "orders": orders }))
}

async fn forget(State(cabinet): State<Arc<Cabinet>>) -> StatusCode {
    cabinet.forget();
    StatusCode::NO_CONTENT
}

async fn events(State(cabinet): State<Arc<Cabinet>>) -> Json<Value> {
    Json(json!({ "events": cabinet.deliveries() }))
}

async fn stats(State(cabinet): State<Arc<Cabinet>>) -> Response {
    Json(cabinet.stats()).into_response()
}

/// Reads a body of any size as it comes and tells what the request looked like from here.
async fn echo(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok((length, sum)) = digest(body).await else {
        return refuse(None, StatusCode::BAD_REQUEST, "the body broke off");
    };
    let fields: Vec<(&str, String)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Json(json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "version": format!("{:?}", head.version),
        "headers": fields,
        "body_bytes": length,
        "body_sha256": sum,
    }))
    .into_response()
}

async fn digest(mut body: Body) -> Result<(u64, String), axum::Error> {
    let mut context = Context::new(&SHA256);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            length += data.len() as u64;
            context.update(&data);
        }
    }
    Ok((length, context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
#[path = "erp_tests.rs"]
mod tests;
