//! globex sells with WooCommerce and keeps its books in ERPNext: an order of the REST API (v3) becomes a `Sales Order`.
//!
//! On the route named by the setting `async_route` (`orders-async` where none) the document is enqueued as
//! `erp.order.created`, in order per WooCommerce order; on any other it is forwarded to `/api/resource/Sales%20Order`,
//! and the client gets `{"order": …, "document_number": …}` of what ERPNext answers.
//!
//! | Setting | Default | |
//! |---|---|---|
//! | `customer_prefix` | `WOO-` | before the WooCommerce customer's id: the name of the `Customer` |
//! | `customer_guest` | none | `Customer` of orders without one; without it they are refused |
//! | `warehouse` | none | of every item |
//! | `tax_account`, `shipping_account`, `fee_account` | `VAT - G`, `Freight and Forwarding Charges - G`, `Miscellaneous Expenses - G` | `account_head` of each charge |
//! | `delivery_days` | 3 | from `transaction_date` to `delivery_date` |
//! | `async_route` | `orders-async` | |
//!
//! An order that is malformed, or whose total is not the sum of its parts, is refused with 422 and a JSON pointer.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

use alloc::borrow::Cow;
use alloc::string::ToString;

use serde::{Deserialize, Serialize};
use sluis_plugin::json::{At, Field, Object, parse};
use sluis_plugin::{Decision, Invalid, Problem, Request, Response, ResponseChange, log};

mod erpnext;
mod mapping;
mod settings;
mod woocommerce;

use settings::Settings;

sluis_plugin::plugin! { on_request: decide, on_response: answer }

/// Maps the order and sends it on, or refuses it.
pub fn decide(request: Request) -> Result<Decision, Problem> {
    let settings = Settings::read()?;
    let malformed = |invalid: Invalid| invalid.refuse("urn:globex:malformed-order", "Malformed order");
    let order: woocommerce::Order<'_> = parse(&request.body).map_err(malformed)?;
    let document = mapping::sales_order(&order, &settings).map_err(malformed)?;
    Ok(if request.route == settings.async_route {
        Decision::enqueue()
            .event_type("erp.order.created")
            .key(document.woocommerce_id.to_string())
            .json(&document)
            .into()
    } else {
        // The signature was of the body that came in; nobody can verify it from here on.
        let forward = Decision::forward().path("/api/resource/Sales%20Order").remove_header("x-wc-webhook-signature");
        forward.json(&document).into()
    })
}

/// Tells the client the document's name, or that ERPNext refused the order.
pub fn answer(response: Response) -> ResponseChange {
    let change = ResponseChange::none();
    if response.is_success() {
        match created(&response.body) {
            Some(created) => return change.json(&created),
            None => log::warn("the ERP's answer names no document; passed on as it is"),
        }
    } else if (400..500).contains(&response.status)
        && let Some(detail) = refusal(&response.body)
    {
        let (kind, title) = ("urn:globex:erp-refused", "ERPNext refused the order");
        return change.json_as("application/problem+json", &Refused { kind, title, status: response.status, detail });
    }
    change
}

/// What the client gets for an order that ERPNext took.
#[derive(Serialize)]
struct Created<'a> {
    /// The shop's own number of the order.
    order: Option<Cow<'a, str>>,
    document_number: Cow<'a, str>,
}

fn created(body: &[u8]) -> Option<Created<'_>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        data: Object<Data<'a>>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Data<'a> {
        #[serde(borrow)]
        name: Field<'a>,
        #[serde(borrow)]
        po_no: Field<'a>,
    }
    let Answer { data: Object(data) } = parse(body).ok()?;
    Some(Created { order: data.po_no.optional_text(&At::ROOT).ok()?, document_number: data.name.text(&At::ROOT).ok()? })
}

/// RFC 9457.
#[derive(Serialize)]
struct Refused<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: Cow<'a, str>,
}

/// The kind of Frappe's exception. Its `exception` and `exc` are a traceback: nothing for a client.
fn refusal(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        exc_type: Field<'a>,
    }
    parse::<Answer<'_>>(body).ok()?.exc_type.text(&At::ROOT).ok()
}

#[cfg(test)]
mod tests;
