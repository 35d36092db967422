//! What the examples have in common: an event, a ledger's settings, and the allocator of the gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sluis_model::event::{EventSink, NewEvent};
use sluis_model::lane::Lane;
use sluis_model::plan;
use sluis_model::shedding::Shedding;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A new event of acme's for the sink `erp`, which keeps no order.
pub fn event(body: &Bytes) -> NewEvent {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    NewEvent {
        id: Uuid::now_v7(),
        tenant: "acme".into(),
        route: "orders".into(),
        event_type: "erp.order.created".into(),
        key: None,
        content_type: "application/json".into(),
        body: body.clone(),
        sinks: vec![EventSink::unordered("erp")],
        lane: Lane::Normal,
        causation_id: None,
        attributes: Vec::new(),
        correlation_id: "0123456789abcdef0123456789abcdef".into(),
        traceparent: Some("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01".into()),
        accepted_at: now.as_millis() as u64,
    }
}

/// Room for all that comes, and nothing of it forgotten meanwhile.
pub fn settings(max_batch: usize) -> plan::Ledger {
    let week = Duration::from_secs(7 * 86_400);
    let shedding = Shedding { low: 100, normal: 100 };
    plan::Ledger { max_bytes: 1 << 40, retention: week, dead_retention: week, max_batch, shedding }
}
