//! ERPNext's `Sales Order`, as far as it is filled.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use sluis_plugin::{Date, Decimal};

#[derive(Serialize)]
pub struct SalesOrder<'a> {
    #[serde(skip)]
    pub woocommerce_id: i64,
    pub doctype: &'static str,
    pub customer: Cow<'a, str>,
    pub order_type: &'static str,
    pub transaction_date: Date,
    pub delivery_date: Date,
    pub currency: &'static str,
    pub po_no: Cow<'a, str>,
    pub po_date: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_email: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_phone: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_display: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipping_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Cow<'a, str>>,
    pub items: Vec<Item<'a>>,
    pub taxes: Vec<Charge<'a>>,
    pub disable_rounded_total: u8,
    pub grand_total: Decimal,
}

#[derive(Serialize)]
pub struct Item<'a> {
    pub item_code: Cow<'a, str>,
    pub item_name: Cow<'a, str>,
    pub qty: Decimal,
    pub rate: Decimal,
    pub amount: Decimal,
    pub delivery_date: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<&'a str>,
}

/// A row of `taxes`, which in ERPNext are taxes and charges alike.
#[derive(Serialize)]
pub struct Charge<'a> {
    pub charge_type: &'static str,
    pub account_head: &'a str,
    pub description: Cow<'a, str>,
    pub tax_amount: Decimal,
}
