//! From the shop's order to the ERP's document. Amounts are in the order's currency and exact.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sluis_plugin::decimal::DecimalError;
use sluis_plugin::text::cut;
use sluis_plugin::{At, Currency, Date, Decimal, Field, Invalid, Object};

use crate::erpnext::{Charge, Item, SalesOrder};
use crate::settings::Settings;
use crate::woocommerce::{self, Address, LineItem, Order};

/// Longest `Data` field of ERPNext, characters.
const DATA: usize = 140;
/// Decimals of a rate where a line's total is no whole multiple of its quantity.
const RATE_DECIMALS: u8 = 9;

/// The sales order of an order, or what is wrong with the order.
pub fn sales_order<'a>(order: &Order<'a>, settings: &'a Settings) -> Result<SalesOrder<'a>, Invalid> {
    let at = At::ROOT;
    let woocommerce_id = order.id.integer(&at.key("id"))?;
    let number = order.number.text(&at.key("number"))?;
    alive(order, &at.key("status"))?;
    let currency = currency(order, &at.key("currency"))?;
    let created_at = at.key("date_created_gmt");
    let created = Date::parse(&order.date_created_gmt.text(&created_at)?);
    let created = created.ok_or_else(|| Invalid::at(&created_at, "is no date and time (ISO 8601)"))?;
    let delivery_date = created.plus_days(settings.delivery_days);
    let delivery_date = delivery_date.ok_or_else(|| Invalid::at(&created_at, "is too late a date"))?;
    let items = items(order, currency, delivery_date, settings)?;
    let (taxes, grand_total) = charges_and_total(order, currency, &items, settings)?;
    let billing = order.billing.as_ref().map(|Object(address)| address);
    let billing_at = at.key("billing");
    let contact = |field: fn(&Address<'a>) -> Field<'a>, key| match billing {
        Some(address) => Ok(field(address).optional_text(&billing_at.key(key))?.map(|text| cut(text, DATA))),
        None => Ok(None),
    };
    Ok(SalesOrder {
        woocommerce_id,
        doctype: "Sales Order",
        customer: customer(order, settings)?,
        order_type: "Sales",
        transaction_date: created,
        delivery_date,
        currency: currency.code(),
        po_no: cut(number, DATA),
        po_date: created,
        contact_email: contact(|a| a.email, "email")?,
        contact_phone: contact(|a| a.phone, "phone")?,
        address_display: display(&order.billing, &billing_at)?,
        shipping_address: display(&order.shipping, &at.key("shipping"))?,
        instructions: order.customer_note.optional_text(&at.key("customer_note"))?,
        items,
        taxes,
        disable_rounded_total: 1,
        grand_total,
    })
}

/// Orders that nobody wants delivered are refused.
fn alive(order: &Order<'_>, at: &At<'_>) -> Result<(), Invalid> {
    let status = order.status.text(at)?;
    match &*status {
        "cancelled" | "refunded" | "failed" | "trash" => Err(Invalid::at(at, format!("is {status}: no sales order"))),
        _ => Ok(()),
    }
}

fn currency(order: &Order<'_>, at: &At<'_>) -> Result<Currency, Invalid> {
    Currency::of(&order.currency.text(at)?).ok_or_else(|| Invalid::at(at, "is no currency (ISO 4217)"))
}

/// An amount that must be there, exact in the currency's minor unit.
fn amount(field: Field<'_>, currency: Currency, at: &At<'_>) -> Result<Decimal, Invalid> {
    currency.exactly(field.decimal(at)?).map_err(|error| match error {
        DecimalError::Inexact => Invalid::at(at, format!("has more decimals than {currency}")),
        error => Invalid::at(at, format!("{error}")),
    })
}

fn too_large<'p>(at: &'p At<'p>) -> impl Fn(DecimalError) -> Invalid + 'p {
    move |error| Invalid::at(at, format!("{error}"))
}

fn customer<'a>(order: &Order<'a>, settings: &'a Settings) -> Result<Cow<'a, str>, Invalid> {
    let at = At::ROOT.key("customer_id");
    match (order.customer_id.integer(&at)?, &settings.customer_guest) {
        (id @ 1.., _) => Ok(Cow::Owned(format!("{}{id}", settings.customer_prefix))),
        (0, Some(guest)) => Ok(Cow::Borrowed(guest)),
        (0, None) => Err(Invalid::at(&at, "must be a customer: orders of guests are not taken")),
        _ => Err(Invalid::at(&at, "must not be negative")),
    }
}

fn items<'a>(
    order: &Order<'a>,
    currency: Currency,
    delivery_date: Date,
    settings: &'a Settings,
) -> Result<Vec<Item<'a>>, Invalid> {
    let at = At::ROOT.key("line_items");
    if order.line_items.is_empty() {
        return Err(Invalid::at(&at, "must have at least one line"));
    }
    let lines = order.line_items.iter().enumerate();
    lines.map(|(index, Object(line))| item(line, currency, delivery_date, settings, &at.index(index))).collect()
}

fn item<'a>(
    line: &LineItem<'a>,
    currency: Currency,
    delivery_date: Date,
    settings: &'a Settings,
    at: &At<'_>,
) -> Result<Item<'a>, Invalid> {
    let code_at = at.key("sku");
    let item_code = line.sku.text(&code_at)?;
    if item_code.chars().count() > DATA {
        return Err(Invalid::at(&code_at, format!("is too long an item code: at most {DATA} characters")));
    }
    let qty_at = at.key("quantity");
    let qty = line.quantity.decimal(&qty_at)?.shortest();
    if !qty.is_positive() {
        return Err(Invalid::at(&qty_at, "must be more than 0"));
    }
    let total_at = at.key("total");
    let total = amount(line.total, currency, &total_at)?;
    if total.is_negative() {
        return Err(Invalid::at(&total_at, "must not be negative"));
    }
    Ok(Item {
        item_code,
        item_name: cut(line.name.text(&at.key("name"))?, DATA),
        qty,
        rate: rate(total, qty, currency, &total_at)?,
        amount: total,
        delivery_date,
        warehouse: settings.warehouse.as_deref(),
    })
}

/// What one piece costs: exact where it can be, otherwise so fine that ERPNext, which multiplies and rounds, gets back
/// to the line's total.
fn rate(total: Decimal, qty: Decimal, currency: Currency, at: &At<'_>) -> Result<Decimal, Invalid> {
    let rate = total.divided_by(qty, RATE_DECIMALS).map_err(too_large(at))?;
    let again = rate.times(qty).and_then(|amount| amount.round(currency.decimals()));
    if again != Ok(total) {
        return Err(Invalid::at(at, "cannot be divided among so many pieces"));
    }
    let shortest = rate.shortest();
    // Money is written with the decimals of its currency at least.
    Ok(if shortest.scale() < currency.decimals() { currency.exactly(rate).unwrap_or(shortest) } else { shortest })
}

/// Shipping, fees and taxes, and the total that all parts must add up to, to the last minor unit.
fn charges_and_total<'a>(
    order: &Order<'a>,
    currency: Currency,
    items: &[Item<'a>],
    settings: &'a Settings,
) -> Result<(Vec<Charge<'a>>, Decimal), Invalid> {
    let at = At::ROOT;
    let zero = currency.exactly(Decimal::ZERO).map_err(too_large(&at))?;
    let sum_of = |rows: &[Charge<'_>], at: &At<'_>| {
        rows.iter().try_fold(zero, |sum, row| sum.plus(row.tax_amount)).map_err(too_large(at))
    };

    let rows_at = at.key("shipping_lines");
    let mut rows = charges(&order.shipping_lines, currency, &settings.shipping_account, "Shipping", &rows_at)?;
    must_be(order.shipping_total, sum_of(&rows, &rows_at)?, currency, "the shipping lines", &at.key("shipping_total"))?;
    rows.extend(charges(&order.fee_lines, currency, &settings.fee_account, "Fee", &at.key("fee_lines"))?);
    let taxes_at = at.key("tax_lines");
    let taxes = taxes(order, currency, &settings.tax_account, &taxes_at)?;
    must_be(order.total_tax, sum_of(&taxes, &taxes_at)?, currency, "the tax lines", &at.key("total_tax"))?;
    rows.extend(taxes);

    let total_at = at.key("total");
    let charged = sum_of(&rows, &total_at)?;
    let sum = items.iter().try_fold(charged, |sum, item| sum.plus(item.amount)).map_err(too_large(&total_at))?;
    let total = must_be(order.total, sum, currency, "the order", &total_at)?;
    rows.retain(|row| !row.tax_amount.is_zero());
    Ok((rows, total))
}

/// The stated amount, which must be what its parts add up to.
fn must_be(stated: Field<'_>, sum: Decimal, currency: Currency, parts: &str, at: &At<'_>) -> Result<Decimal, Invalid> {
    let stated = amount(stated, currency, at)?;
    if stated == sum {
        return Ok(stated);
    }
    let verb = if parts.ends_with('s') { "add up" } else { "adds up" };
    Err(Invalid::at(at, format!("is {stated}, but {parts} {verb} to {sum}")))
}

fn charges<'a>(
    lines: &[Object<woocommerce::Charge<'a>>],
    currency: Currency,
    account_head: &'a str,
    otherwise: &'static str,
    at: &At<'_>,
) -> Result<Vec<Charge<'a>>, Invalid> {
    let charge = |(index, Object(line)): (usize, &Object<woocommerce::Charge<'a>>)| {
        let at = at.index(index);
        let title = match line.method_title.optional_text(&at.key("method_title"))? {
            Some(title) => Some(title),
            None => line.name.optional_text(&at.key("name"))?,
        };
        Ok(Charge {
            charge_type: "Actual",
            account_head,
            description: title.unwrap_or(Cow::Borrowed(otherwise)),
            tax_amount: amount(line.total, currency, &at.key("total"))?,
        })
    };
    lines.iter().enumerate().map(charge).collect()
}

fn taxes<'a>(
    order: &Order<'a>,
    currency: Currency,
    account_head: &'a str,
    at: &At<'_>,
) -> Result<Vec<Charge<'a>>, Invalid> {
    let tax = |(index, Object(line)): (usize, &Object<woocommerce::TaxLine<'a>>)| {
        let at = at.index(index);
        let of_items = amount(line.tax_total, currency, &at.key("tax_total"))?;
        let of_shipping = amount(line.shipping_tax_total, currency, &at.key("shipping_tax_total"))?;
        Ok(Charge {
            charge_type: "Actual",
            account_head,
            description: line.label.optional_text(&at.key("label"))?.unwrap_or(Cow::Borrowed("Tax")),
            tax_amount: of_items.plus(of_shipping).map_err(too_large(&at))?,
        })
    };
    order.tax_lines.iter().enumerate().map(tax).collect()
}

/// An address as it is shown: a line for each of its rows that is not empty.
fn display(address: &Option<Object<Address<'_>>>, at: &At<'_>) -> Result<Option<String>, Invalid> {
    let Some(Object(address)) = address else { return Ok(None) };
    let rows: [&[(&str, Field<'_>)]; 7] = [
        &[("first_name", address.first_name), ("last_name", address.last_name)],
        &[("company", address.company)],
        &[("address_1", address.address_1)],
        &[("address_2", address.address_2)],
        &[("postcode", address.postcode), ("city", address.city)],
        &[("state", address.state)],
        &[("country", address.country)],
    ];
    let mut shown = String::new();
    for row in rows {
        let mut between = "\n";
        for (key, field) in row {
            let Some(part) = field.optional_text(&at.key(key))? else { continue };
            if !shown.is_empty() {
                shown.push_str(between);
            }
            shown.push_str(&part);
            between = " ";
        }
    }
    Ok((!shown.is_empty()).then_some(shown))
}
