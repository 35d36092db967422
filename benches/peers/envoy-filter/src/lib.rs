//! Renames the fields of an order to the ERP's, adds its total, marks the request and drops `User-Agent`: the work of
//! `plugins/examples/order-map`, written for proxy-wasm as one would write it there. Amounts are floating point here.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Mapping))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Mapping;

impl Context for Mapping {}

impl HttpContext for Mapping {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        // A plugin of ours is given all fields.
        let _fields = self.get_http_request_headers();
        self.set_http_request_header("content-length", None);
        self.set_http_request_header("user-agent", None);
        self.set_http_request_header("x-canonical", Some("order.v1"));
        // The head waits for the body, which may be refused.
        if end { Action::Continue } else { Action::Pause }
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        match document(&body) {
            Some(document) => {
                self.set_http_request_body(0, size, &document);
                Action::Continue
            }
            None => {
                self.send_http_response(422, vec![("content-type", "application/problem+json")], Some(PROBLEM));
                Action::Pause
            }
        }
    }
}

const PROBLEM: &[u8] = br#"{"type":"urn:sluis:example:malformed-order","title":"Malformed order","status":422}"#;

#[derive(Deserialize)]
struct Order<'a> {
    id: &'a str,
    #[serde(borrow)]
    customer: Customer<'a>,
    currency: &'a str,
    lines: Vec<Line<'a>>,
    ship_to: &'a RawValue,
    placed_at: &'a str,
}

#[derive(Deserialize)]
struct Customer<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Deserialize)]
struct Line<'a> {
    sku: &'a str,
    qty: f64,
    unit_price: f64,
    description: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    #[serde(rename = "schemaVersion")]
    schema_version: u8,
    external_id: &'a str,
    card_code: &'a str,
    card_name: &'a str,
    doc_currency: &'a str,
    doc_total: f64,
    document_lines: Vec<DocumentLine<'a>>,
    ship_to: &'a RawValue,
    doc_date: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DocumentLine<'a> {
    item_code: &'a str,
    quantity: f64,
    unit_price: f64,
    text: &'a str,
}

/// The order in the ERP's words, if it is one.
fn document(body: &[u8]) -> Option<Vec<u8>> {
    let order: Order<'_> = serde_json::from_slice(body).ok()?;
    let document_lines = order.lines.iter().map(|line| DocumentLine {
        item_code: line.sku,
        quantity: line.qty,
        unit_price: line.unit_price,
        text: line.description,
    });
    let document = Document {
        schema_version: 1,
        external_id: order.id,
        card_code: order.customer.id,
        card_name: order.customer.name,
        doc_currency: order.currency,
        doc_total: order.lines.iter().map(|line| line.qty * line.unit_price).sum(),
        document_lines: document_lines.collect(),
        ship_to: order.ship_to,
        doc_date: order.placed_at,
    };
    serde_json::to_vec(&document).ok()
}
