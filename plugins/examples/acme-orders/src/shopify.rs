//! The order of Shopify's REST Admin API, as far as it is looked at.

use alloc::vec::Vec;

use serde::Deserialize;
use sluis_plugin::{Field, Object};

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Order<'a> {
    #[serde(borrow)]
    pub id: Field<'a>,
    #[serde(borrow)]
    pub name: Field<'a>,
    #[serde(borrow)]
    pub created_at: Field<'a>,
    #[serde(borrow)]
    pub currency: Field<'a>,
    #[serde(borrow)]
    pub note: Field<'a>,
    pub taxes_included: bool,
    #[serde(borrow)]
    pub total_price: Field<'a>,
    #[serde(borrow)]
    pub total_tax: Field<'a>,
    #[serde(borrow)]
    pub total_tip_received: Field<'a>,
    #[serde(borrow)]
    pub customer: Option<Object<Customer<'a>>>,
    #[serde(borrow)]
    pub billing_address: Option<Object<Address<'a>>>,
    #[serde(borrow)]
    pub shipping_address: Option<Object<Address<'a>>>,
    #[serde(borrow)]
    pub line_items: Vec<Object<LineItem<'a>>>,
    #[serde(borrow)]
    pub shipping_lines: Vec<Object<ShippingLine<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Customer<'a> {
    #[serde(borrow)]
    pub id: Field<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Address<'a> {
    #[serde(borrow)]
    pub name: Field<'a>,
    #[serde(borrow)]
    pub company: Field<'a>,
    #[serde(borrow)]
    pub address1: Field<'a>,
    #[serde(borrow)]
    pub address2: Field<'a>,
    #[serde(borrow)]
    pub city: Field<'a>,
    #[serde(borrow)]
    pub zip: Field<'a>,
    #[serde(borrow)]
    pub province_code: Field<'a>,
    #[serde(borrow)]
    pub country_code: Field<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct LineItem<'a> {
    #[serde(borrow)]
    pub sku: Field<'a>,
    #[serde(borrow)]
    pub title: Field<'a>,
    #[serde(borrow)]
    pub variant_title: Field<'a>,
    #[serde(borrow)]
    pub quantity: Field<'a>,
    /// Of one, before discounts.
    #[serde(borrow)]
    pub price: Field<'a>,
    /// Line-level discounts only; all of them are in `discount_allocations`.
    #[serde(borrow)]
    pub total_discount: Field<'a>,
    #[serde(borrow)]
    pub discount_allocations: Vec<Object<DiscountAllocation<'a>>>,
    #[serde(borrow)]
    pub tax_lines: Vec<Object<TaxLine<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ShippingLine<'a> {
    #[serde(borrow)]
    pub title: Field<'a>,
    #[serde(borrow)]
    pub price: Field<'a>,
    /// After line-level discounts only.
    #[serde(borrow)]
    pub discounted_price: Field<'a>,
    #[serde(borrow)]
    pub discount_allocations: Vec<Object<DiscountAllocation<'a>>>,
    #[serde(borrow)]
    pub tax_lines: Vec<Object<TaxLine<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct DiscountAllocation<'a> {
    #[serde(borrow)]
    pub amount: Field<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct TaxLine<'a> {
    #[serde(borrow)]
    pub price: Field<'a>,
}
