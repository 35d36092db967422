//! The document `Orders` of SAP Business One's Service Layer (v2), as far as it is filled.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use sluis_plugin::{Date, Decimal};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Document<'a> {
    #[serde(skip)]
    pub shopify_id: i64,
    pub card_code: String,
    pub doc_date: Date,
    pub doc_due_date: Date,
    pub doc_currency: &'static str,
    pub doc_total: Decimal,
    pub num_at_card: Cow<'a, str>,
    pub comments: Cow<'a, str>,
    pub document_lines: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub document_additional_expenses: Vec<Expense<'a>>,
    #[serde(skip_serializing_if = "AddressExtension::is_empty")]
    pub address_extension: AddressExtension<'a>,
}

/// `LineTotal` and `UnitPrice` are before tax; of shops whose prices include it, `GrossTotal` and `PriceAfterVAT`
/// are given instead, and SAP takes the tax out.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Line<'a> {
    pub item_code: Cow<'a, str>,
    pub item_description: Cow<'a, str>,
    pub quantity: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_total: Option<Decimal>,
    #[serde(rename = "PriceAfterVAT", skip_serializing_if = "Option::is_none")]
    pub price_after_vat: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gross_total: Option<Decimal>,
    pub tax_total: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warehouse_code: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Expense<'a> {
    pub expense_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_total: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_gross: Option<Decimal>,
    pub remarks: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_code: Option<&'a str>,
}

type Part<'a> = Option<Cow<'a, str>>;

#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct AddressExtension<'a> {
    #[serde(flatten)]
    pub ship_to: Option<ShipTo<'a>>,
    #[serde(flatten)]
    pub bill_to: Option<BillTo<'a>>,
}

impl AddressExtension<'_> {
    fn is_empty(&self) -> bool {
        self.ship_to.is_none() && self.bill_to.is_none()
    }
}

macro_rules! address {
    ($name:ident, $($field:ident: $sap:literal),+) => {
        #[derive(Serialize)]
        pub struct $name<'a> {
            $(#[serde(rename = $sap, skip_serializing_if = "Option::is_none")] pub $field: Part<'a>,)+
        }
        impl<'a> From<Address<'a>> for $name<'a> {
            fn from(address: Address<'a>) -> Self {
                Self { $($field: address.$field),+ }
            }
        }
    };
}

address!(ShipTo, addressee: "ShipToAddress2", street: "ShipToStreet", block: "ShipToBlock", city: "ShipToCity",
    zip_code: "ShipToZipCode", state: "ShipToState", country: "ShipToCountry");
address!(BillTo, addressee: "BillToAddress2", street: "BillToStreet", block: "BillToBlock", city: "BillToCity",
    zip_code: "BillToZipCode", state: "BillToState", country: "BillToCountry");

/// An address, whichever of the two it is.
pub struct Address<'a> {
    pub addressee: Part<'a>,
    pub street: Part<'a>,
    pub block: Part<'a>,
    pub city: Part<'a>,
    pub zip_code: Part<'a>,
    pub state: Part<'a>,
    pub country: Part<'a>,
}
