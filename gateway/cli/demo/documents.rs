//! The two kinds of sales order that the ERP stand-in takes, checked as far as a real one would before it files
//! them.

use serde::Deserialize;

use super::amount::Amount;

/// Lines that one document may have.
const MAX_LINES: usize = 1000;
/// No value-added tax is higher, in per cent.
const HIGHEST_TAX: Amount = Amount::whole(27);

/// Whose document it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// SAP Business One, Service Layer `Orders`.
    Sap,
    /// ERPNext, `Sales Order`.
    ErpNext,
}

impl System {
    /// How it is called in lists.
    pub fn name(self) -> &'static str {
        match self {
            System::Sap => "sap-b1",
            System::ErpNext => "erpnext",
        }
    }
}

/// What the ERP makes of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Whose document it is.
    pub system: System,
    /// `CardCode` or `customer`.
    pub customer: String,
    /// `NumAtCard` or `po_no`: the shop's order number.
    pub reference: Option<String>,
    /// `DocCurrency` or `currency`.
    pub currency: Option<String>,
    /// Number of lines.
    pub lines: usize,
    /// What the customer owes, to the cent.
    pub total: Amount,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SapOrder {
    card_code: String,
    num_at_card: Option<String>,
    doc_currency: Option<String>,
    doc_due_date: String,
    document_lines: Vec<SapLine>,
    #[serde(default)]
    document_additional_expenses: Vec<SapExpense>,
    total_discount: Option<Amount>,
    doc_total: Option<Amount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SapLine {
    item_code: String,
    quantity: Amount,
    unit_price: Option<Amount>,
    price: Option<Amount>,
    #[serde(rename = "PriceAfterVAT")]
    price_after_vat: Option<Amount>,
    discount_percent: Option<Amount>,
    line_total: Option<Amount>,
    gross_total: Option<Amount>,
    tax_total: Option<Amount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SapExpense {
    line_total: Option<Amount>,
    line_gross: Option<Amount>,
    tax_sum: Option<Amount>,
}

#[derive(Deserialize)]
struct ErpNextOrder {
    customer: String,
    po_no: Option<String>,
    currency: Option<String>,
    delivery_date: Option<String>,
    items: Vec<ErpNextItem>,
    #[serde(default)]
    taxes: Vec<ErpNextTax>,
    discount_amount: Option<Amount>,
    grand_total: Option<Amount>,
}

#[derive(Deserialize)]
struct ErpNextItem {
    item_code: String,
    qty: Amount,
    rate: Option<Amount>,
    amount: Option<Amount>,
    delivery_date: Option<String>,
}

#[derive(Deserialize)]
struct ErpNextTax {
    tax_amount: Amount,
}

/// Reads a document of either kind, known by the members that only it has.
///
/// # Errors
/// One sentence saying what a real ERP would object to.
pub fn read_either(body: &[u8]) -> Result<Summary, String> {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(rename = "DocumentLines")]
        sap: Option<serde::de::IgnoredAny>,
        #[serde(rename = "items")]
        erpnext: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice::<Shape>(body) {
        Ok(Shape { sap: Some(_), erpnext: None }) => read(System::Sap, body),
        Ok(Shape { sap: None, erpnext: Some(_) }) => read(System::ErpNext, body),
        Ok(_) => Err("neither DocumentLines nor items".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a document of `system`.
///
/// # Errors
/// One sentence saying what a real ERP would object to.
pub fn read(system: System, body: &[u8]) -> Result<Summary, String> {
    let summary = match system {
        System::Sap => serde_json::from_slice(body).map_err(|error| error.to_string()).and_then(sap)?,
        System::ErpNext => serde_json::from_slice(body).map_err(|error| error.to_string()).and_then(erpnext)?,
    };
    if summary.customer.is_empty() {
        return Err("the customer is empty".into());
    }
    if !(1..=MAX_LINES).contains(&summary.lines) {
        return Err(format!("a document has 1 to {MAX_LINES} lines"));
    }
    if summary.total.is_negative() {
        return Err("the total is negative".into());
    }
    Ok(summary)
}

fn sap(order: SapOrder) -> Result<Summary, String> {
    date(&order.doc_due_date)?;
    let mut total = Amount::default();
    for line in order.document_lines.iter().take(MAX_LINES) {
        total = total + sap_line(line)?;
    }
    // What SAP itself may add: it finds the tax on an expense by the expense's tax code.
    let mut own_tax = Amount::default();
    for expense in order.document_additional_expenses.iter().take(MAX_LINES) {
        match (expense.line_gross, expense.line_total, expense.tax_sum) {
            (Some(gross), _, _) => total = total + gross,
            (None, Some(net), Some(tax)) => total = total + net + tax,
            (None, Some(net), None) => {
                total = total + net;
                own_tax = own_tax + net - net.less_percent(HIGHEST_TAX);
            }
            (None, None, _) => return Err("an expense has no amount".into()),
        }
    }
    let total = (total - order.total_discount.unwrap_or_default()).to_cents();
    let total = agree("DocTotal", order.doc_total, total, own_tax.to_cents())?;
    Ok(Summary {
        system: System::Sap,
        customer: order.card_code,
        reference: order.num_at_card,
        currency: order.doc_currency,
        lines: order.document_lines.len(),
        total,
    })
}

/// What a line adds to the total: gross amounts hold their tax already, net ones do not.
fn sap_line(line: &SapLine) -> Result<Amount, String> {
    item(&line.item_code, line.quantity)?;
    let discount = line.discount_percent.unwrap_or_default();
    if discount.is_negative() || discount > Amount::HUNDRED {
        return Err(format!("the discount of {} is not from 0 to 100 per cent", line.item_code));
    }
    let of = |price: Amount| line.quantity.times(price).less_percent(discount).to_cents();
    if let Some(gross) = line.gross_total.or(line.price_after_vat.map(of)) {
        return Ok(gross);
    }
    let net = line.line_total.or(line.unit_price.or(line.price).map(of));
    let net = net.ok_or_else(|| format!("{} has no price", line.item_code))?;
    Ok(net + line.tax_total.unwrap_or_default())
}

fn erpnext(order: ErpNextOrder) -> Result<Summary, String> {
    let mut total = Amount::default();
    for line in order.items.iter().take(MAX_LINES) {
        item(&line.item_code, line.qty)?;
        let due = line.delivery_date.as_ref().or(order.delivery_date.as_ref());
        date(due.ok_or_else(|| format!("{} has no delivery_date", line.item_code))?)?;
        let computed = line.rate.map(|rate| line.qty.times(rate).to_cents());
        total = total + line.amount.or(computed).ok_or_else(|| format!("{} has no rate", line.item_code))?;
    }
    let taxes: Amount = order.taxes.iter().take(MAX_LINES).map(|tax| tax.tax_amount).sum();
    let total = (total + taxes - order.discount_amount.unwrap_or_default()).to_cents();
    let total = agree("grand_total", order.grand_total, total, Amount::default())?;
    Ok(Summary {
        system: System::ErpNext,
        customer: order.customer,
        reference: order.po_no,
        currency: order.currency,
        lines: order.items.len(),
        total,
    })
}

fn item(code: &str, quantity: Amount) -> Result<(), String> {
    if code.is_empty() {
        return Err("a line has no item code".into());
    }
    if quantity <= Amount::default() {
        return Err(format!("the quantity of {code} is not positive"));
    }
    Ok(())
}

/// `2026-11-21`, or that followed by a time.
fn date(text: &str) -> Result<(), String> {
    let day = text.get(..10).unwrap_or(text);
    let format = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(day, format).map(drop).map_err(|_| format!("{text:?} is not a date"))
}

/// The document's total: the sum of its parts, or what the document itself says where that is the same but for at
/// most `own_tax`.
fn agree(name: &str, named: Option<Amount>, computed: Amount, own_tax: Amount) -> Result<Amount, String> {
    match named.map(Amount::to_cents) {
        None => Ok(computed),
        Some(named) if named >= computed && named <= computed + own_tax => Ok(named),
        Some(named) => Err(format!("{name} is {named}, but the document adds up to {computed}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const SAP: &str = r#"{"CardCode":"C1","NumAtCard":"1001","DocCurrency":"EUR","DocDueDate":"2026-11-21",
        "DocumentLines":[{"ItemCode":"A","Quantity":3,"UnitPrice":19.99},
                         {"ItemCode":"B","Quantity":1,"UnitPrice":"10.00","DiscountPercent":12.5}],
        "DocumentAdditionalExpenses":[{"ExpenseCode":1,"LineTotal":4.95}],"TotalDiscount":0.02,"Comments":"x"}"#;
    const ERPNEXT: &str = r#"{"customer":"Jane","currency":"EUR","delivery_date":"2026-11-21","po_no":"7",
        "items":[{"item_code":"A","qty":2,"rate":0.1},{"item_code":"B","qty":1,"rate":"0.20"}],
        "taxes":[{"charge_type":"Actual","tax_amount":0.08}],"discount_amount":"0.10","grand_total":0.38}"#;

    #[test]
    fn totals_come_out_to_the_cent() {
        let sap = read_either(SAP.as_bytes()).unwrap();
        assert_eq!((sap.system, sap.lines, sap.total.to_string().as_str()), (System::Sap, 2, "73.65"));
        let erpnext = read_either(ERPNEXT.as_bytes()).unwrap();
        assert_eq!((erpnext.system, erpnext.lines, erpnext.total.to_string().as_str()), (System::ErpNext, 2, "0.38"));
    }

    #[test]
    fn gross_prices_hold_their_tax_and_the_tax_on_an_expense_is_the_erps_own() {
        let gross = r#"{"CardCode":"C1","DocDueDate":"2026-11-21","DocTotal":26.05,"DocumentLines":[
            {"ItemCode":"A","Quantity":2,"PriceAfterVAT":12.10,"GrossTotal":20.00,"TaxTotal":3.47}],
            "DocumentAdditionalExpenses":[{"ExpenseCode":1,"LineGross":6.05}]}"#;
        assert_eq!(read(System::Sap, gross.as_bytes()).unwrap().total.to_string(), "26.05");
        let net = r#"{"CardCode":"C1","DocDueDate":"2026-11-21","DocTotal":18.05,"DocumentLines":[
            {"ItemCode":"A","Quantity":1,"UnitPrice":10.00,"TaxTotal":2.00}],
            "DocumentAdditionalExpenses":[{"ExpenseCode":1,"LineTotal":5.00}]}"#;
        assert_eq!(read(System::Sap, net.as_bytes()).unwrap().total.to_string(), "18.05");
        let dear = net.replace("18.05", "18.36");
        assert!(read(System::Sap, dear.as_bytes()).is_err());
    }

    #[test]
    fn what_a_real_erp_refuses_is_refused() {
        for (from, to) in [
            (r#""CardCode":"C1""#, r#""CardCode":"""#),
            (r#""CardCode":"C1","#, ""),
            (r#""Quantity":3"#, r#""Quantity":0"#),
            (r#""Quantity":3"#, r#""Quantity":"three""#),
            (r#""UnitPrice":19.99"#, r#""UnitPrice":1e9"#),
            (r#""UnitPrice":19.99"#, r#""Weight":1"#),
            (r#""DocDueDate":"2026-11-21""#, r#""DocDueDate":"2026-13-01""#),
            (r#""TotalDiscount":0.02"#, r#""TotalDiscount":1000"#),
            (r#""TotalDiscount":0.02"#, r#""DocTotal":73.66"#),
            (r#""TotalDiscount":0.02"#, r#""DocTotal":75.02"#),
            (r#""LineTotal":4.95"#, r#""Remarks":"free""#),
        ] {
            let body = SAP.replace(from, to);
            assert_ne!(body, SAP);
            assert!(read(System::Sap, body.as_bytes()).is_err(), "{to}");
        }
        assert!(read(System::ErpNext, ERPNEXT.replace("0.38", "0.39").as_bytes()).is_err());
        assert!(read_either(b"{}").is_err() && read_either(b"").is_err() && read_either(b"[]").is_err());
    }
}
