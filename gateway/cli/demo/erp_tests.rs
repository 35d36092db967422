#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::demo::fault::{Fault, Mode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;

struct Erp {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    faults: Arc<Faults>,
    _stop: oneshot::Sender<()>,
}

async fn erp() -> Erp {
    let listener = super::super::serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let faults = Faults::new(Duration::ZERO);
    let (stop, stopped) = oneshot::channel();
    let app = router(Arc::default(), &faults);
    tokio::spawn(super::super::serve::serve(listener, app, faults.clone(), async {
        let _ = stopped.await;
    }));
    Erp { base, client: Client::builder(TokioExecutor::new()).build_http(), faults, _stop: stop }
}

impl Erp {
    async fn send(&self, method: &str, path: &str, id: Option<&str>, body: &str) -> Option<(u16, Value)> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(id) = id {
            request = request.header(EVENT_ID, id);
        }
        let answer = self.client.request(request.body(Full::from(body.to_owned())).unwrap()).await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

const SAP: &str = r#"{"CardCode":"C1","NumAtCard":"7","DocCurrency":"EUR","DocDueDate":"2026-11-21",
    "DocumentLines":[{"ItemCode":"A","Quantity":3,"UnitPrice":19.99}]}"#;
const ERPNEXT: &str = r#"{"customer":"Jane","currency":"EUR","delivery_date":"2026-11-21","po_no":"7",
    "items":[{"item_code":"A","qty":2,"rate":0.1}]}"#;

#[tokio::test]
async fn each_system_answers_in_its_own_words_and_the_document_is_held() {
    let erp = erp().await;
    let (status, order) = erp.send("POST", "/b1s/v2/Orders", None, SAP).await.unwrap();
    assert_eq!((status, &order["DocEntry"], &order["DocTotal"]), (201, &json!(1), &json!(59.97)));
    let (status, order) = erp.send("POST", "/api/resource/Sales%20Order", None, ERPNEXT).await.unwrap();
    let name = order["data"]["name"].as_str().unwrap();
    assert_eq!((status, &order["data"]["grand_total"]), (200, &json!(0.2)));
    assert!(name.starts_with("SAL-ORD-20") && name.ends_with("-00001"), "{name}");

    let (_, held) = erp.send("GET", "/_orders?after=1", None, "").await.unwrap();
    assert_eq!((&held["count"], held["orders"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!((&held["orders"][0]["document"], &held["orders"][0]["total"]), (&json!(name), &json!("0.20")));
    assert_eq!(held["orders"][0]["body"]["items"][0]["rate"], json!(0.1));

    let (status, refused) = erp.send("POST", "/b1s/v2/Orders", None, "{}").await.unwrap();
    assert_eq!((status, refused["error"]["code"].is_string()), (400, true));
    let (status, refused) = erp.send("POST", "/api/resource/Sales%20Order", None, "{}").await.unwrap();
    assert_eq!((status, &refused["exc_type"]), (417, &json!("ValidationError")));
    assert_eq!(erp.send("POST", "/api/resource/Item", None, ERPNEXT).await.unwrap().0, 404);
    assert_eq!(erp.send("GET", "/_stats", None, "").await.unwrap().1["refused"], json!(2));
}

#[tokio::test]
async fn an_event_that_comes_twice_makes_one_document() {
    let erp = erp().await;
    let (first, made) = erp.send("POST", "/events/orders", Some("e-1"), SAP).await.unwrap();
    let (second, found) = erp.send("POST", "/events/orders", Some("e-1"), SAP).await.unwrap();
    assert_eq!((first, second, &made), (201, 200, &found));
    let (other, _) = erp.send("POST", "/events/orders", Some("e-2"), ERPNEXT).await.unwrap();
    assert_eq!(other, 200);
    assert_eq!(erp.send("POST", "/events/stock", Some("e-3"), "any text").await.unwrap().0, 200);
    assert_eq!(erp.send("POST", "/events/orders", None, SAP).await.unwrap().0, 400);
    assert_eq!(erp.send("POST", "/events/orders", Some("e-4"), "any text").await.unwrap().0, 400);

    let (_, deliveries) = erp.send("GET", "/_events", None, "").await.unwrap();
    assert_eq!(deliveries["events"], json!({ "e-1": 2, "e-2": 1, "e-3": 1 }));
    let (_, held) = erp.send("GET", "/_orders?event=e-1", None, "").await.unwrap();
    assert_eq!((held["orders"].as_array().unwrap().len(), &held["orders"][0]["deliveries"]), (1, &json!(2)));

    assert_eq!(erp.send("DELETE", "/_orders", None, "").await.unwrap().0, 204);
    assert_eq!(erp.send("GET", "/_stats", None, "").await.unwrap().1["documents"], json!(0));
}

#[tokio::test]
async fn it_breaks_as_asked_and_recovers() {
    let erp = erp().await;
    let fault = r#"{"mode":"error","status":500,"times":1}"#;
    assert_eq!(erp.send("POST", "/_fault", None, fault).await.unwrap().0, 200);
    assert_eq!(erp.send("POST", "/b1s/v2/Orders", None, SAP).await.unwrap().0, 500);
    assert_eq!(erp.send("POST", "/b1s/v2/Orders", None, SAP).await.unwrap().0, 201);

    erp.faults.set(Fault { mode: Mode::Reset, ..Fault::default() }).unwrap();
    assert_eq!(erp.send("POST", "/b1s/v2/Orders", None, SAP).await, None);
    let (status, now) = erp.send("GET", "/_fault", None, "").await.unwrap();
    assert_eq!((status, &now["mode"]), (200, &json!("reset")));

    erp.faults.set(Fault { mode: Mode::Down, for_ms: Some(200), ..Fault::default() }).unwrap();
    let address = erp.base.strip_prefix("http://").unwrap().to_owned();
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    erp.faults.up_again().await;
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(erp.send("POST", "/b1s/v2/Orders", None, SAP).await.unwrap().0, 201);
    for bad in ["", "{}x", r#"{"mode":"flaky"}"#, r#"{"mood":"bad"}"#] {
        assert_eq!(erp.send("POST", "/_fault", None, bad).await.unwrap().0, 400, "{bad}");
    }
}

#[tokio::test]
async fn echo_reads_a_large_body_to_its_end() {
    let erp = erp().await;
    let body = "x".repeat(20 << 20);
    let (status, seen) = erp.send("PUT", "/echo/a?b=c", None, &body).await.unwrap();
    assert_eq!((status, &seen["body_bytes"], &seen["query"]), (200, &json!(20 << 20), &json!("b=c")));
    let sum = aws_lc_rs::digest::digest(&SHA256, body.as_bytes());
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(seen["body_sha256"], json!(sum));
}
