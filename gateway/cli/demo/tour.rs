//! The tour: real-shaped orders through both journeys, and what must be refused, each row checked against what the
//! ERP really holds.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Method, StatusCode, Version, header};
use serde_json::Value;
use time::OffsetDateTime;

use self::promises::Memory;
use super::cases::{Case, Credential, Expect, Journey, Key, ORDERS, PROMISES, Payload, REFUSALS};
use super::fault::Faults;
use crate::client::{Call, Client, ClientError, Reply};
use crate::table::{Align, render};

mod promises;

/// An event has this long to be delivered.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(15);
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// Base URLs of everything, without a slash at the end.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The gateway, in the clear.
    pub http: String,
    /// The gateway, over TLS.
    pub https: String,
    /// The gateway's operators.
    pub admin: String,
    /// The ERP stand-in.
    pub erp: String,
    /// The token issuer.
    pub issuer: String,
}

/// What the tour found.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Vec<String>>,
    filed: u64,
    /// What did not come out as it must, one sentence each.
    pub failures: Vec<String>,
}

/// One row's findings.
#[derive(Debug, Default)]
struct Row {
    status: String,
    millis: String,
    document: String,
    total: String,
    remark: String,
}

/// Sends everything and checks everything. `erp_faults` is the switch that takes the ERP down.
pub async fn run(client: &Client, addresses: &Addresses, erp_faults: &Faults) -> Report {
    let tour = Tour { client, addresses, erp_faults, run: OffsetDateTime::now_utc().unix_timestamp_nanos() };
    let mut report = Report::default();
    let before = tour.count().await;
    let mut memory = Memory::default();
    for case in ORDERS.iter().chain(PROMISES).chain(REFUSALS) {
        let mut row = Row::default();
        let checked = tour.case(case, &mut row, &mut memory).await;
        report.add(case, row, checked);
    }
    if let Some(location) = memory.event {
        let mut row = Row::default();
        let checked = tour.foreign_event(&location, &mut row).await;
        report.add(&FOREIGN_EVENT, row, checked);
    }
    // Nothing lost is checked row by row; nothing invented shows in the count.
    match (before, tour.count().await) {
        (Ok(before), Ok(after)) if after - before != report.filed => report.failures.push(format!(
            "the ERP took {} documents, but {} were sent that it should take",
            after - before,
            report.filed
        )),
        (Err(error), _) | (_, Err(error)) => report.failures.push(error),
        _ => {}
    }
    report
}

impl Report {
    fn add(&mut self, case: &Case, mut row: Row, checked: Result<(), String>) {
        let (method, path) = case.target();
        let journey = match case.journey {
            Journey::Forward => "forward".to_owned(),
            Journey::Enqueue => "enqueue".to_owned(),
            Journey::Other(..) => format!("{method} {path}"),
        };
        let mark = if checked.is_ok() { "✔" } else { "✖" };
        let via = if case.tls { "https" } else { "http" };
        if checked.is_err() && row.remark.is_empty() {
            row.remark = "see below".to_owned();
        }
        let Row { status, millis, document, total, remark } = row;
        let told = [mark, case.tenant, case.order, &journey, via].map(str::to_owned);
        self.rows.push(told.into_iter().chain([status, millis, document, total, remark]).collect());
        if matches!(case.expect, Expect::Filed { .. }) && !matches!(case.key, Key::Used(_)) {
            self.filed += 1;
        }
        if let Err(reason) = checked {
            self.failures.push(format!("{} {}, {journey} over {via}: {reason}", case.tenant, case.order));
        }
    }

    /// The table, and what did not come out as it must.
    pub fn render(&self) -> String {
        let heading = [
            ("", Align::Left),
            ("tenant", Align::Left),
            ("order", Align::Left),
            ("journey", Align::Left),
            ("via", Align::Left),
            ("status", Align::Right),
            ("ms", Align::Right),
            ("ERP document", Align::Left),
            ("total", Align::Right),
            ("remark", Align::Left),
        ];
        let mut text = render(&heading, &self.rows);
        if self.failures.is_empty() {
            let (rows, filed) = (self.rows.len(), self.filed);
            text.push_str(&format!(
                "\nAll {rows} as they must be; the ERP holds {filed} documents more, to the cent.\n"
            ));
        } else {
            text.push_str("\nNot as it must be:\n");
            for failure in &self.failures {
                text.push_str(&format!("  ✖ {failure}\n"));
            }
        }
        text
    }
}

/// Another tenant's event does not exist.
const FOREIGN_EVENT: Case = Case {
    tenant: "globex",
    order: "acme's event",
    journey: Journey::Other("GET", "Location"),
    tls: false,
    credential: Credential::Good,
    key: Key::None,
    outage: false,
    body: Payload::Empty,
    expect: Expect::Refused { status: 404, slug: "event-not-found", pointer: None },
};

impl Case {
    fn target(&self) -> (&'static str, &'static str) {
        match self.journey {
            Journey::Forward => ("POST", "/v1/orders"),
            Journey::Enqueue => ("POST", "/v1/orders/async"),
            Journey::Other(method, path) => (method, path),
        }
    }

    /// Whether it becomes an event, where it is not refused.
    fn is_kept(&self) -> bool {
        self.journey == Journey::Enqueue || self.outage
    }
}

struct Tour<'a> {
    client: &'a Client,
    addresses: &'a Addresses,
    erp_faults: &'a Faults,
    /// When it began, in nanoseconds since the epoch.
    run: i128,
}

impl Tour<'_> {
    /// Sends one request and checks what became of it.
    async fn case(&self, case: &Case, row: &mut Row, memory: &mut Memory) -> Result<(), String> {
        let before = self.count().await?;
        let reply = if case.outage { self.send_while_down(case).await } else { self.send(case).await }?;
        row.status = reply.status.as_u16().to_string();
        row.millis = millis(reply.took);
        if case.tls && reply.version != Version::HTTP_2 {
            return Err(format!("{:?} was spoken, not HTTP/2", reply.version));
        }
        match case.expect {
            Expect::Refused { status, slug, pointer } => refusal(&reply, status, slug, pointer, row)?,
            expect if case.is_kept() => {
                let resource = self.accepted(&reply, self.base(case.tls))?;
                let waited = millis(self.delivered(case, &resource, row).await?);
                self.event_filed(&resource, expect, row).await?;
                row.remark = match case.outage {
                    true => format!("kept; delivered {waited} ms after the ERP was back"),
                    false => format!("delivered after {waited} ms"),
                };
                memory.event.get_or_insert(resource);
            }
            expect => self.answered(&reply, expect, row).await?,
        }
        self.once(case, reply, before, row, memory).await
    }

    async fn send(&self, case: &Case) -> Result<Reply, String> {
        let (method, path) = case.target();
        let call = Call {
            method: method.parse().unwrap_or(Method::POST),
            url: format!("{}{path}", self.base(case.tls)),
            token: self.credential(case).await?,
            key: self.key(case),
            body: payload(case.body),
            media_type: None,
        };
        self.client.send(call).await.map_err(|error| error.to_string())
    }

    /// `GET` on an event of acme's with a token of globex's.
    async fn foreign_event(&self, location: &str, row: &mut Row) -> Result<(), String> {
        let token = self.credential(&FOREIGN_EVENT).await?;
        let call = Call { url: location.to_owned(), token, ..Call::default() };
        let reply = self.client.send(call).await.map_err(|error| error.to_string())?;
        row.status = reply.status.as_u16().to_string();
        row.millis = millis(reply.took);
        refusal(&reply, 404, "event-not-found", None, row)
    }

    fn base(&self, tls: bool) -> &str {
        if tls { &self.addresses.https } else { &self.addresses.http }
    }

    async fn credential(&self, case: &Case) -> Result<Option<String>, String> {
        let parameters = match case.credential {
            Credential::Missing => return Ok(None),
            Credential::Good | Credential::Forged => String::new(),
            Credential::Expired => "&lifetime=-600".to_owned(),
            Credential::Scope(scope) => format!("&scope={scope}"),
        };
        let token = token(self.client, &self.addresses.issuer, case.tenant, &parameters).await;
        let token = token.map_err(|error| error.to_string())?;
        if case.credential == Credential::Forged {
            return Ok(Some(forge(&token)));
        }
        Ok(Some(token))
    }

    /// Checks a 202 and returns the absolute URL of the event.
    fn accepted(&self, reply: &Reply, base: &str) -> Result<String, String> {
        expect_status(reply, 202)?;
        let location = reply.field(header::LOCATION).ok_or("202 without Location")?;
        if !location.starts_with('/') {
            return Err(format!("Location {location:?} is no path"));
        }
        Ok(format!("{base}{location}"))
    }

    /// Asks for the event until it is delivered; returns how long that took.
    async fn delivered(&self, case: &Case, resource: &str, row: &mut Row) -> Result<Duration, String> {
        let begin = Instant::now();
        let token = self.credential(case).await?;
        loop {
            let event = self.event(resource, token.clone()).await?;
            let state = event["state"].as_str().unwrap_or_default();
            row.remark = format!("event is {state}");
            match state {
                "completed" => return Ok(begin.elapsed()),
                "failed" | "partially_failed" => return Err(format!("the event is {state}")),
                _ if begin.elapsed() > DELIVERY_DEADLINE => {
                    return Err(format!("the event is {state:?} after {} s", DELIVERY_DEADLINE.as_secs()));
                }
                _ => tokio::time::sleep(POLL_PAUSE).await,
            }
        }
    }

    /// An event as it stands. From the moment of the 202 it can be asked for.
    async fn event(&self, resource: &str, token: Option<String>) -> Result<Value, String> {
        let call = Call { url: resource.to_owned(), token, ..Call::default() };
        let reply = self.client.send(call).await.map_err(|error| error.to_string())?;
        expect_status(&reply, 200)?;
        Ok(reply.json())
    }

    /// Checks that the ERP made exactly one document of an event.
    async fn event_filed(&self, resource: &str, expect: Expect, row: &mut Row) -> Result<(), String> {
        let id = resource.rsplit('/').next().unwrap_or_default();
        match self.held(&format!("event={id}")).await?.as_slice() {
            [record] => matches(record, expect, row),
            records => Err(format!("the ERP made {} documents of event {id}", records.len())),
        }
    }

    /// Checks the ERP's answer to a forwarded order, as the plugin words it, and the document that it names.
    async fn answered(&self, reply: &Reply, expect: Expect, row: &mut Row) -> Result<(), String> {
        let Expect::Filed { system, reference, .. } = expect else { return Ok(()) };
        expect_status(reply, if system == "sap-b1" { 201 } else { 200 })?;
        let body = reply.json();
        if body["order"] != reference {
            return Err(format!("the answer is about order {}, and must be about {reference:?}", body["order"]));
        }
        let number = body["document_number"].as_str();
        let number = number.ok_or_else(|| format!("no document number in the answer {body}"))?;
        let records = self.held(&format!("document={number}")).await?;
        let record = records.iter().find(|record| record["system"] == system);
        matches(record.ok_or_else(|| format!("the ERP does not hold {number}"))?, expect, row)
    }

    async fn held(&self, query: &str) -> Result<Vec<Value>, String> {
        let url = format!("{}/_orders?limit=10&{query}", self.addresses.erp);
        let list = self.client.get(url).await.map_err(|error| error.to_string())?;
        Ok(list["orders"].as_array().cloned().unwrap_or_default())
    }

    async fn count(&self) -> Result<u64, String> {
        let stats =
            self.client.get(format!("{}/_stats", self.addresses.erp)).await.map_err(|error| error.to_string())?;
        stats["documents"].as_u64().ok_or_else(|| "the ERP does not tell its count".into())
    }
}

/// Asks a running issuer for a token. `parameters` are further query parameters, each with its `&`.
///
/// # Errors
/// When there is no whole answer.
pub async fn token(client: &Client, issuer: &str, tenant: &str, parameters: &str) -> Result<String, ClientError> {
    let url = format!("{issuer}/token?tenant={tenant}{parameters}");
    let reply = client.send(Call { method: Method::POST, url: url.clone(), ..Call::default() }).await?;
    match reply.json()["access_token"].as_str() {
        Some(token) if reply.status == StatusCode::OK => Ok(token.to_owned()),
        _ => Err(ClientError::Broken { url, reason: format!("{}, and no token", reply.status) }),
    }
}

/// Compares what the ERP holds with what it must hold; shows its number and total.
fn matches(record: &Value, expect: Expect, row: &mut Row) -> Result<(), String> {
    let Expect::Filed { system, reference, currency, lines, total } = expect else { return Ok(()) };
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let number = text("document");
    row.document.clone_from(&number);
    row.total = format!("{} {}", text("total"), text("currency"));
    let wanted = [
        ("system", Value::from(system)),
        ("reference", Value::from(reference)),
        ("currency", Value::from(currency)),
        ("lines", Value::from(lines)),
        ("total", Value::from(total)),
    ];
    match wanted.iter().find(|(name, value)| record[*name] != *value) {
        Some((name, value)) => Err(format!("document {number}: {name} is {}, and must be {value}", record[*name])),
        None => Ok(()),
    }
}

fn refusal(reply: &Reply, status: u16, slug: &str, pointer: Option<&str>, row: &mut Row) -> Result<(), String> {
    let problem = reply.json();
    let kind = problem["type"].as_str().unwrap_or_default();
    let name = kind.rsplit('/').next().unwrap_or_default();
    row.remark = match problem["pointer"].as_str() {
        Some(pointer) => format!("{} at {pointer}", problem["title"].as_str().unwrap_or(name)),
        None => name.to_owned(),
    };
    expect_status(reply, status)?;
    if reply.field(header::CONTENT_TYPE) != Some("application/problem+json") {
        return Err("the refusal is not in problem+json".into());
    }
    if !slug.is_empty() && name != slug {
        return Err(format!("the problem is {kind:?}, and must be {slug:?}"));
    }
    if problem["pointer"].as_str() != pointer {
        return Err(format!("the pointer is {}, and must be {pointer:?}", problem["pointer"]));
    }
    Ok(())
}

fn expect_status(reply: &Reply, status: u16) -> Result<(), String> {
    if reply.status.as_u16() == status {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&reply.body);
    let start: String = text.chars().take(300).collect();
    Err(format!("status is {}, and must be {status}: {start}", reply.status.as_u16()))
}

fn payload(body: Payload) -> Bytes {
    match body {
        Payload::Empty => Bytes::new(),
        Payload::Order(text) => Bytes::from_static(text.as_bytes()),
        Payload::Padding(length) => {
            let frame = "{\"note\":\"\"}";
            format!("{{\"note\":\"{}\"}}", "x".repeat(length.saturating_sub(frame.len()))).into()
        }
    }
}

/// The token with the first character of its signature changed.
fn forge(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", signature.get(1..).unwrap_or_default())
}

fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_that_differs_in_one_cent_is_noticed() {
        let expect = ORDERS[0].expect;
        let held = json!({ "document": "1", "system": "sap-b1", "reference": "#1001", "currency": "EUR", "lines": 2, "total": "172.58" });
        let mut row = Row::default();
        assert_eq!(matches(&held, expect, &mut row), Ok(()));
        assert_eq!((row.document.as_str(), row.total.as_str()), ("1", "172.58 EUR"));
        for (name, wrong) in [("total", json!("172.59")), ("lines", json!(3)), ("reference", Value::Null)] {
            let mut held = held.clone();
            held[name] = wrong;
            assert!(matches(&held, expect, &mut row).is_err_and(|reason| reason.contains(name)));
        }
    }

    #[test]
    fn the_expected_totals_are_those_of_the_shops() {
        let promises = PROMISES.iter().filter(|case| matches!(case.expect, Expect::Filed { .. }));
        for case in ORDERS.iter().chain(promises) {
            let (Payload::Order(text), Expect::Filed { lines, total, currency, .. }) = (case.body, case.expect) else {
                panic!("{case:?}");
            };
            let order: Value = serde_json::from_str(text).unwrap();
            let named = order["total_price"].as_str().or(order["total"].as_str());
            assert_eq!((named, order["currency"].as_str()), (Some(total), Some(currency)), "{}", case.order);
            assert_eq!(order["line_items"].as_array().unwrap().len() as u64, lines);
        }
    }

    #[test]
    fn a_failure_is_in_the_report() {
        let mut report = Report::default();
        report.add(&ORDERS[0], Row::default(), Ok(()));
        report.add(&REFUSALS[0], Row::default(), Err("status is 500".into()));
        assert_eq!((report.filed, report.failures.len()), (1, 1));
        assert!(report.render().contains("✖ acme without a token, forward over http: status is 500"));
    }

    #[test]
    fn padding_is_json_of_the_wanted_length_and_a_forged_token_differs() {
        let body = payload(Payload::Padding(1000));
        assert_eq!(body.len(), 1000);
        assert!(serde_json::from_slice::<Value>(&body).is_ok());
        assert_eq!((forge("a.b.Axy").as_str(), forge("a.b.xyz").as_str()), ("a.b.Bxy", "a.b.Ayz"));
    }
}
