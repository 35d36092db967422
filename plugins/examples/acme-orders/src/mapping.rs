//! From the shop's order to the ERP's document. Amounts are in the order's currency and exact.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sluis_plugin::decimal::DecimalError;
use sluis_plugin::text::cut;
use sluis_plugin::{At, Currency, Date, Decimal, Field, Invalid, Object};

use crate::sap::{Address, AddressExtension, Document, Expense, Line};
use crate::settings::Settings;
use crate::shopify::{self, DiscountAllocation, LineItem, Order, ShippingLine, TaxLine};

/// Longest texts that SAP takes, characters.
const CARD_CODE: usize = 15;
const NUM_AT_CARD: usize = 100;
const COMMENTS: usize = 254;
const ITEM_CODE: usize = 50;
const ITEM_DESCRIPTION: usize = 200;

/// The document of an order, or what is wrong with the order.
pub fn document<'a>(order: &Order<'a>, settings: &'a Settings) -> Result<Document<'a>, Invalid> {
    let at = At::ROOT;
    let shopify_id = order.id.integer(&at.key("id"))?;
    let name = order.name.text(&at.key("name"))?;
    let currency = currency(order.currency, &at.key("currency"))?;
    let (doc_date, doc_due_date) = dates(order.created_at, settings.due_days, &at.key("created_at"))?;
    let money = Money { currency, gross: order.taxes_included };
    let lines = lines(order, &money, settings)?;
    let shipping = shipping(order, &money, settings)?;
    let tip = money.optional(order.total_tip_received, &at.key("total_tip_received"))?;
    let doc_total = total(order, &money, &lines, &shipping, tip)?;

    let mut expenses: Vec<_> = shipping.into_iter().filter(|s| !s.amount.is_zero()).map(|s| s.expense).collect();
    if !tip.is_zero() {
        expenses.push(money.expense(settings.tip_code, tip, Cow::Borrowed("Tip"), settings.tax_code_exempt.as_deref()));
    }
    Ok(Document {
        shopify_id,
        card_code: card_code(order, settings)?,
        doc_date,
        doc_due_date,
        doc_currency: currency.code(),
        doc_total,
        comments: comments(order, shopify_id, &name)?,
        num_at_card: cut(name, NUM_AT_CARD),
        document_lines: lines.into_iter().map(|l| l.line).collect(),
        document_additional_expenses: expenses,
        address_extension: AddressExtension {
            ship_to: address(&order.shipping_address, &at.key("shipping_address"))?.map(Into::into),
            bill_to: address(&order.billing_address, &at.key("billing_address"))?.map(Into::into),
        },
    })
}

/// How amounts of this order are read and written.
struct Money {
    currency: Currency,
    /// Prices include tax.
    gross: bool,
}

impl Money {
    /// An amount of at least 0 that must be there.
    fn amount(&self, field: Field<'_>, at: &At<'_>) -> Result<Decimal, Invalid> {
        let amount = field.decimal(at)?;
        if amount.is_negative() {
            return Err(Invalid::at(at, "must not be negative"));
        }
        self.currency.exactly(amount).map_err(|error| match error {
            DecimalError::Inexact => Invalid::at(at, format!("has more decimals than {}", self.currency)),
            error => Invalid::at(at, format!("{error}")),
        })
    }

    /// An amount of at least 0; 0 where it is absent.
    fn optional(&self, field: Field<'_>, at: &At<'_>) -> Result<Decimal, Invalid> {
        if field.raw().is_some() { self.amount(field, at) } else { self.zero() }
    }

    fn zero(&self) -> Result<Decimal, Invalid> {
        self.currency.exactly(Decimal::ZERO).map_err(|error| Invalid::at(&At::ROOT, format!("{error}")))
    }

    fn sum(&self, amounts: impl Iterator<Item = Decimal>, at: &At<'_>) -> Result<Decimal, Invalid> {
        amounts.into_iter().try_fold(self.zero()?, Decimal::plus).map_err(too_large(at))
    }

    fn taxes(&self, taxes: &[Object<TaxLine<'_>>], at: &At<'_>) -> Result<Decimal, Invalid> {
        let at = at.key("tax_lines");
        taxes.iter().enumerate().try_fold(self.zero()?, |sum, (index, Object(tax))| {
            let at = at.index(index);
            sum.plus(self.amount(tax.price, &at.key("price"))?).map_err(too_large(&at))
        })
    }

    /// What all discounts together take off, at most `of`.
    fn discounts(
        &self,
        discounts: &[Object<DiscountAllocation<'_>>],
        of: Decimal,
        at: &At<'_>,
    ) -> Result<Decimal, Invalid> {
        let at = at.key("discount_allocations");
        let sum = discounts.iter().enumerate().try_fold(self.zero()?, |sum, (index, Object(discount))| {
            let at = at.index(index);
            sum.plus(self.amount(discount.amount, &at.key("amount"))?).map_err(too_large(&at))
        })?;
        if sum > of { Err(Invalid::at(&at, "takes off more than there is")) } else { Ok(sum) }
    }

    fn expense<'a>(&self, code: u16, amount: Decimal, remarks: Cow<'a, str>, tax_code: Option<&'a str>) -> Expense<'a> {
        let (line_total, line_gross) = if self.gross { (None, Some(amount)) } else { (Some(amount), None) };
        Expense { expense_code: code, line_total, line_gross, remarks, tax_code }
    }
}

fn too_large<'p>(at: &'p At<'p>) -> impl Fn(DecimalError) -> Invalid + 'p {
    move |error| Invalid::at(at, format!("{error}"))
}

fn currency(field: Field<'_>, at: &At<'_>) -> Result<Currency, Invalid> {
    Currency::of(&field.text(at)?).ok_or_else(|| Invalid::at(at, "is no currency (ISO 4217)"))
}

fn dates(field: Field<'_>, due_days: u16, at: &At<'_>) -> Result<(Date, Date), Invalid> {
    let date = Date::parse(&field.text(at)?).ok_or_else(|| Invalid::at(at, "is no date and time (ISO 8601)"))?;
    let due = date.plus_days(due_days).ok_or_else(|| Invalid::at(at, "is too late a date"))?;
    Ok((date, due))
}

fn card_code(order: &Order<'_>, settings: &Settings) -> Result<String, Invalid> {
    let at = At::ROOT.key("customer");
    match (&order.customer, &settings.card_code_guest) {
        (Some(Object(customer)), _) => {
            let at = at.key("id");
            let code = format!("{}{}", settings.card_code_prefix, customer.id.integer(&at)?);
            if code.chars().count() > CARD_CODE {
                return Err(Invalid::at(
                    &at,
                    format!("{code} is too long a card code: at most {CARD_CODE} characters"),
                ));
            }
            Ok(code)
        }
        (None, Some(guest)) => Ok(guest.clone()),
        (None, None) => Err(Invalid::at(&at, "must be there: orders of guests are not taken")),
    }
}

fn comments<'a>(order: &Order<'a>, id: i64, name: &str) -> Result<Cow<'a, str>, Invalid> {
    let note = order.note.optional_text(&At::ROOT.key("note"))?;
    let comments = match note {
        Some(note) => format!("Shopify order {name} ({id}): {note}"),
        None => format!("Shopify order {name} ({id})"),
    };
    Ok(cut(Cow::Owned(comments), COMMENTS))
}

/// A line and what it adds up to.
struct Mapped<'a> {
    line: Line<'a>,
    amount: Decimal,
    tax: Decimal,
}

fn lines<'a>(order: &Order<'a>, money: &Money, settings: &'a Settings) -> Result<Vec<Mapped<'a>>, Invalid> {
    let at = At::ROOT.key("line_items");
    if order.line_items.is_empty() {
        return Err(Invalid::at(&at, "must have at least one line"));
    }
    let items = order.line_items.iter().enumerate();
    items.map(|(index, Object(item))| line(item, money, settings, &at.index(index))).collect()
}

fn line<'a>(item: &LineItem<'a>, money: &Money, settings: &'a Settings, at: &At<'_>) -> Result<Mapped<'a>, Invalid> {
    let item_code = item.sku.text(&at.key("sku"))?;
    if item_code.chars().count() > ITEM_CODE {
        return Err(Invalid::at(&at.key("sku"), format!("is too long an item code: at most {ITEM_CODE} characters")));
    }
    let quantity = item.quantity.integer(&at.key("quantity"))?;
    let pieces = Decimal::new(quantity, 0).filter(|q| q.is_positive());
    let pieces = pieces.ok_or_else(|| Invalid::at(&at.key("quantity"), "must be at least 1"))?;
    let price = money.amount(item.price, &at.key("price"))?;
    let whole = price.times(pieces).map_err(too_large(at))?;
    let amount = whole.minus(line_discount(item, money, whole, at)?).map_err(too_large(at))?;
    let tax = money.taxes(&item.tax_lines, at)?;
    let taxed = if tax.is_zero() { &settings.tax_code_exempt } else { &settings.tax_code };
    let net = !money.gross;
    let line = Line {
        item_code,
        item_description: cut(description(item, at)?, ITEM_DESCRIPTION),
        quantity,
        unit_price: net.then_some(price),
        line_total: net.then_some(amount),
        price_after_vat: money.gross.then_some(price),
        gross_total: money.gross.then_some(amount),
        tax_total: tax,
        tax_code: taxed.as_deref(),
        warehouse_code: settings.warehouse.as_deref(),
    };
    Ok(Mapped { line, amount, tax })
}

/// All discounts of a line where Shopify lists them, its own where it does not.
fn line_discount(item: &LineItem<'_>, money: &Money, of: Decimal, at: &At<'_>) -> Result<Decimal, Invalid> {
    if !item.discount_allocations.is_empty() {
        return money.discounts(&item.discount_allocations, of, at);
    }
    let at = at.key("total_discount");
    let discount = money.optional(item.total_discount, &at)?;
    if discount > of { Err(Invalid::at(&at, "takes off more than there is")) } else { Ok(discount) }
}

fn description<'a>(item: &LineItem<'a>, at: &At<'_>) -> Result<Cow<'a, str>, Invalid> {
    let title = item.title.text(&at.key("title"))?;
    Ok(match item.variant_title.optional_text(&at.key("variant_title"))? {
        Some(variant) => Cow::Owned(format!("{title} - {variant}")),
        None => title,
    })
}

/// A shipping line and what it adds up to.
struct Shipping<'a> {
    expense: Expense<'a>,
    amount: Decimal,
    tax: Decimal,
}

fn shipping<'a>(order: &Order<'a>, money: &Money, settings: &'a Settings) -> Result<Vec<Shipping<'a>>, Invalid> {
    let at = At::ROOT.key("shipping_lines");
    let lines = order.shipping_lines.iter().enumerate();
    lines.map(|(index, Object(line))| shipping_line(line, money, settings, &at.index(index))).collect()
}

fn shipping_line<'a>(
    line: &ShippingLine<'a>,
    money: &Money,
    settings: &'a Settings,
    at: &At<'_>,
) -> Result<Shipping<'a>, Invalid> {
    let price = money.amount(line.price, &at.key("price"))?;
    let amount = if line.discount_allocations.is_empty() && line.discounted_price.raw().is_some() {
        money.amount(line.discounted_price, &at.key("discounted_price"))?
    } else {
        price.minus(money.discounts(&line.discount_allocations, price, at)?).map_err(too_large(at))?
    };
    let tax = money.taxes(&line.tax_lines, at)?;
    let taxed = if tax.is_zero() { &settings.tax_code_exempt } else { &settings.tax_code };
    let remarks = line.title.optional_text(&at.key("title"))?.unwrap_or(Cow::Borrowed("Shipping"));
    Ok(Shipping {
        expense: money.expense(settings.freight_code, amount, cut(remarks, COMMENTS), taxed.as_deref()),
        amount,
        tax,
    })
}

/// The order's total, which its parts must add up to, to the last minor unit.
fn total(
    order: &Order<'_>,
    money: &Money,
    lines: &[Mapped<'_>],
    shipping: &[Shipping<'_>],
    tip: Decimal,
) -> Result<Decimal, Invalid> {
    let root = At::ROOT;
    let tax_at = root.key("total_tax");
    let tax = money.optional(order.total_tax, &tax_at)?;
    let listed = money.sum(lines.iter().map(|l| l.tax).chain(shipping.iter().map(|s| s.tax)), &tax_at)?;
    // Shops that do not list their taxes by line have only this total.
    if !listed.is_zero() && listed != tax {
        return Err(Invalid::at(&tax_at, format!("is {tax}, but the tax lines add up to {listed}")));
    }
    let at = root.key("total_price");
    let total = money.amount(order.total_price, &at)?;
    let parts = lines.iter().map(|l| l.amount).chain(shipping.iter().map(|s| s.amount));
    let added_tax = (!money.gross).then_some(tax);
    let sum = money.sum(parts.chain(added_tax).chain([tip]), &at)?;
    if sum == total { Ok(total) } else { Err(Invalid::at(&at, format!("is {total}, but the order adds up to {sum}"))) }
}

fn address<'a>(address: &Option<Object<shopify::Address<'a>>>, at: &At<'_>) -> Result<Option<Address<'a>>, Invalid> {
    let Some(Object(address)) = address else { return Ok(None) };
    let part = |field: Field<'a>, key: &str, most| {
        field.optional_text(&at.key(key)).map(|text| text.map(|text| cut(text, most)))
    };
    let company = part(address.company, "company", 50)?;
    Ok(Some(Address {
        addressee: if company.is_some() { company } else { part(address.name, "name", 50)? },
        street: part(address.address1, "address1", 100)?,
        block: part(address.address2, "address2", 100)?,
        city: part(address.city, "city", 100)?,
        zip_code: part(address.zip, "zip", 20)?,
        state: part(address.province_code, "province_code", 3)?,
        country: part(address.country_code, "country_code", 3)?,
    }))
}
