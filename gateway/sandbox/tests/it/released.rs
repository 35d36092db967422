//! Components that were built against contracts once published: they load and answer for ever. See `../released`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluis_model::hook::event::{EventView, Preparation, SinkAnswer, Verdict};
use sluis_model::hook::{Decision, ResponseView};
use sluis_sandbox::{Plugin, Scope};

use crate::support::*;

/// Every published version's folder.
fn versions() -> Vec<PathBuf> {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released");
    let folders = std::fs::read_dir(released).unwrap().map(|entry| entry.unwrap().path());
    let versions: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    assert!(!versions.is_empty());
    versions
}

async fn load(house: &House, version: &Path, hook: &str) -> Arc<Plugin> {
    let plugin = house.sandbox.load(&version.join(hook).with_extension("wasm"), &ALL).await.unwrap();
    assert_eq!(plugin.hooks().names().collect::<Vec<_>>(), [hook]);
    plugin
}

#[tokio::test]
async fn what_was_built_for_a_published_contract_answers() {
    let house = House::new();
    for version in versions() {
        let plugin = load(&house, &version, "on-request").await;
        let order = br#"{"id":"1","customer":{"id":"c","name":"n"},"currency":"EUR","lines":[{"sku":"a","qty":2,"unit_price":"1.50","description":"d"}],"ship_to":{},"placed_at":"now"}"#;
        let said = call_with(&plugin, order, &limits()).await.result;
        let Ok(Decision::Forward(forward)) = said else { panic!("{said:?}") };
        let document = String::from_utf8(forward.body.unwrap()).unwrap();
        assert!(document.contains(r#""DocTotal":3.00"#), "{document}");

        let plugin = load(&house, &version, "on-response").await;
        let headers = [("x-tester", "status/201")];
        let view = ResponseView {
            status: 200,
            headers: &headers,
            body: b"",
            route: "orders",
            tenant: "acme",
            correlation_id: "c-1",
        };
        let said = plugin.on_response(view, &Arc::<Scope>::default(), &limits(), MIB).await.result;
        assert_eq!(said.unwrap().status, Some(201));

        let plugin = load(&house, &version, "on-event").await;
        let event = EventView {
            id: "0190",
            event_type: "test",
            key: None,
            sink: "erp",
            route: "orders",
            tenant: "acme",
            correlation_id: "c-1",
            accepted_at: 0,
            attempt: 1,
            content_type: "application/json",
            body: br#"{"shape":"body/hello","judge":"409:done/there"}"#,
        };
        let scope = Arc::<Scope>::default();
        let Ok(Preparation::Send(shaped)) = plugin.shape(event, &scope, &limits(), MIB).await.result else { panic!() };
        assert_eq!(shaped.body.as_deref(), Some(&b"hello"[..]));
        let answer = SinkAnswer { status: 409, headers: &[], body: b"" };
        let verdict = plugin.judge(event, answer, &scope, &limits()).await.result.unwrap();
        assert_eq!(verdict, Some(Verdict::Done("there".to_owned())));
    }
}
