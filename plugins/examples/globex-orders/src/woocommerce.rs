//! The order of WooCommerce's REST API (v3), as far as it is looked at. Totals of lines, shipping and fees are after
//! discounts and before tax, whatever the shop shows its customers.

use alloc::vec::Vec;

use serde::Deserialize;
use sluis_plugin::{Field, Object};

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Order<'a> {
    #[serde(borrow)]
    pub id: Field<'a>,
    #[serde(borrow)]
    pub number: Field<'a>,
    #[serde(borrow)]
    pub status: Field<'a>,
    #[serde(borrow)]
    pub currency: Field<'a>,
    #[serde(borrow)]
    pub date_created_gmt: Field<'a>,
    #[serde(borrow)]
    pub total: Field<'a>,
    #[serde(borrow)]
    pub total_tax: Field<'a>,
    #[serde(borrow)]
    pub shipping_total: Field<'a>,
    /// 0 for guests.
    #[serde(borrow)]
    pub customer_id: Field<'a>,
    #[serde(borrow)]
    pub customer_note: Field<'a>,
    #[serde(borrow)]
    pub billing: Option<Object<Address<'a>>>,
    #[serde(borrow)]
    pub shipping: Option<Object<Address<'a>>>,
    #[serde(borrow)]
    pub line_items: Vec<Object<LineItem<'a>>>,
    #[serde(borrow)]
    pub shipping_lines: Vec<Object<Charge<'a>>>,
    #[serde(borrow)]
    pub fee_lines: Vec<Object<Charge<'a>>>,
    #[serde(borrow)]
    pub tax_lines: Vec<Object<TaxLine<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Address<'a> {
    #[serde(borrow)]
    pub first_name: Field<'a>,
    #[serde(borrow)]
    pub last_name: Field<'a>,
    #[serde(borrow)]
    pub company: Field<'a>,
    #[serde(borrow)]
    pub address_1: Field<'a>,
    #[serde(borrow)]
    pub address_2: Field<'a>,
    #[serde(borrow)]
    pub city: Field<'a>,
    #[serde(borrow)]
    pub state: Field<'a>,
    #[serde(borrow)]
    pub postcode: Field<'a>,
    #[serde(borrow)]
    pub country: Field<'a>,
    #[serde(borrow)]
    pub email: Field<'a>,
    #[serde(borrow)]
    pub phone: Field<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct LineItem<'a> {
    #[serde(borrow)]
    pub sku: Field<'a>,
    #[serde(borrow)]
    pub name: Field<'a>,
    #[serde(borrow)]
    pub quantity: Field<'a>,
    #[serde(borrow)]
    pub total: Field<'a>,
}

/// A line of shipping (`method_title`) or a fee (`name`).
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Charge<'a> {
    #[serde(borrow)]
    pub method_title: Field<'a>,
    #[serde(borrow)]
    pub name: Field<'a>,
    #[serde(borrow)]
    pub total: Field<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct TaxLine<'a> {
    #[serde(borrow)]
    pub label: Field<'a>,
    #[serde(borrow)]
    pub tax_total: Field<'a>,
    #[serde(borrow)]
    pub shipping_tax_total: Field<'a>,
}
