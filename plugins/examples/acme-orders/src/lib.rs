//! acme sells with Shopify and keeps its books in SAP Business One: the body of the webhook `orders/create` becomes a
//! document `Orders` of the Service Layer (v2).
//!
//! On the route named by the setting `async_route` (`orders-async` where none) the document is enqueued as
//! `erp.order.created`, in order per Shopify order; on any other it is forwarded to `/b1s/v2/Orders`, and the client
//! gets `{"order": …, "document_number": …}` of what SAP answers.
//!
//! | Setting | Default | |
//! |---|---|---|
//! | `card_code_prefix` | `C` | before the Shopify customer's id; both together have at most 15 characters |
//! | `card_code_guest` | none | business partner of orders without customer; without it they are refused |
//! | `warehouse` | none | `WarehouseCode` of every line |
//! | `tax_code`, `tax_code_exempt` | none | `TaxCode` of what is taxed, and of what is not |
//! | `freight_code`, `tip_code` | 1, 2 | `ExpenseCode` of shipping and of tips |
//! | `due_days` | 14 | from `DocDate` to `DocDueDate` |
//! | `async_route` | `orders-async` | |
//!
//! An order that is malformed, or whose total is not the sum of its parts, is refused with 422 and a JSON pointer.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

use alloc::borrow::Cow;
use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};
use sluis_plugin::json::{At, Field, Object, parse};
use sluis_plugin::{Decision, Problem, Request, Response, ResponseChange, log};

mod mapping;
mod sap;
mod settings;
mod shopify;

use settings::Settings;

sluis_plugin::plugin! { on_request: decide, on_response: answer }

/// Maps the order and sends it on, or refuses it.
pub fn decide(request: Request) -> Result<Decision, Problem> {
    let settings = Settings::read()?;
    let malformed = |invalid: sluis_plugin::Invalid| invalid.refuse("urn:acme:malformed-order", "Malformed order");
    let order: shopify::Order<'_> = parse(&request.body).map_err(malformed)?;
    let document = mapping::document(&order, &settings).map_err(malformed)?;
    Ok(if request.route == settings.async_route {
        Decision::enqueue().event_type("erp.order.created").key(document.shopify_id.to_string()).json(&document).into()
    } else {
        // The signature was of the body that came in; nobody can verify it from here on.
        Decision::forward().path("/b1s/v2/Orders").remove_header("x-shopify-hmac-sha256").json(&document).into()
    })
}

/// Tells the client the document's number, or why SAP refused the order.
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
        let (kind, title) = ("urn:acme:erp-refused", "SAP Business One refused the order");
        return change.json_as("application/problem+json", &Refused { kind, title, status: response.status, detail });
    }
    change
}

/// What the client gets for an order that SAP took.
#[derive(Serialize)]
struct Created<'a> {
    /// The shop's own name of the order.
    order: Option<Cow<'a, str>>,
    document_number: String,
}

fn created(body: &[u8]) -> Option<Created<'_>> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "PascalCase")]
    struct Answer<'a> {
        #[serde(borrow)]
        doc_num: Field<'a>,
        #[serde(borrow)]
        num_at_card: Field<'a>,
    }
    let Answer { doc_num, num_at_card } = parse(body).ok()?;
    Some(Created {
        order: num_at_card.optional_text(&At::ROOT).ok()?,
        document_number: doc_num.integer(&At::ROOT).ok()?.to_string(),
    })
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

/// SAP's own words, which stand in `error.message`, or in `error.message.value` with older service layers.
fn refusal(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        error: Object<ServiceError<'a>>,
    }
    #[derive(Deserialize)]
    struct ServiceError<'a> {
        #[serde(borrow)]
        message: Field<'a>,
    }
    #[derive(Deserialize)]
    struct Localised<'a> {
        #[serde(borrow)]
        value: Field<'a>,
    }
    let Answer { error: Object(error) } = parse(body).ok()?;
    match error.message.text(&At::ROOT) {
        Ok(text) => Some(text),
        Err(_) => parse::<Localised<'_>>(error.message.raw()?.get().as_bytes()).ok()?.value.text(&At::ROOT).ok(),
    }
}

#[cfg(test)]
mod tests;
