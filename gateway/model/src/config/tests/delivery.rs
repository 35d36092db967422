//! How sinks are delivered to, when systems are left alone, and what leads an event to the ledger.

use std::time::Duration;

use super::{Memory, small_with};
use crate::breaker::BreakerSettings;
use crate::lane::Lane;
use crate::maintenance::date_and_time;
use crate::pacing::PacingSettings;
use crate::plan::{Order, Otherwise, Plan};

const SINK: &str = "http: {url: http://127.0.0.1:7001/events}";
const BOTH: &str = "forward: {upstreams: [erp]}, enqueue: {sinks: [erp-orders], event_type: x}";

fn sink_with(more: &str) -> String {
    small_with(SINK, &format!("{SINK}, {more}"))
}

/// The route `orders`, which has a plugin, with `action` in place of what it does.
fn orders(action: &str) -> String {
    small_with("plugin: orders, forward: {upstreams: [erp]}", action)
}

fn plan(text: String) -> Plan {
    Memory::new(text).check().unwrap_or_else(|error| panic!("{error}")).plan
}

fn refused(text: String, said: &str) {
    let errors = Memory::new(text).errors();
    assert!(errors.contains(said), "{errors}");
}

#[test]
fn a_sink_has_an_order_a_pace_and_a_breaker_of_its_own() {
    let more = "order: park_key, compact_by_key: true, rate: 50, retry_budget_percent: 5, slow_start: 0s, \
                breaker: {open: 1s}";
    let sink = &plan(sink_with(more)).sinks["erp-orders"];
    assert_eq!((sink.order, sink.compact_by_key), (Order::ParkKey, true));
    let pacing =
        PacingSettings { rate: Some(50), retry_percent: 5, retry_floor_per_second: 10, slow_start: Duration::ZERO };
    assert_eq!(sink.pacing, pacing);
    let open = Duration::from_secs(1);
    let default = &plan(sink_with("order: none")).sinks["erp-orders"].breaker;
    assert_eq!(sink.breaker, BreakerSettings { open, ..*default });
    let orders = [("none", Order::None), ("block", Order::Block), ("dlq_and_continue", Order::DlqAndContinue)];
    for (written, order) in orders {
        assert_eq!(plan(sink_with(&format!("order: {written}"))).sinks["erp-orders"].order, order);
    }
}

#[test]
fn what_a_sink_cannot_be_is_refused() {
    refused(sink_with("order: strict"), "one of `none`, `block`, `dlq_and_continue`, `park_key` belongs here");
    refused(sink_with("rate: 0"), "sinks[0].rate: too small: from 1 to 1000000");
    refused(sink_with("slow_start: 2h"), "sinks[0].slow_start: too large: from 0s to 1h");
    refused(sink_with("retry_budget_percent: 101"), "sinks[0].retry_budget_percent: too large");
    refused(sink_with("breaker: {open: 9m}"), "sinks[0].breaker.open: must not be more than `max_open`");
}

#[test]
fn maintenance_is_weekly_or_once_on_sinks_and_upstreams() {
    let windows = "maintenance: [{days: [sat, sun], from: '22:00', to: '02:00', utc_offset: '+02:00'}, \
                   {from: '2026-12-24T18:00:00Z', to: '2026-12-25T06:00:00+01:00'}]";
    let until = |plan: &Plan, now: &str| {
        let (upstream, sink) = (&plan.upstreams["erp"].maintenance, &plan.sinks["erp-orders"].maintenance);
        let now = date_and_time(now).unwrap();
        (upstream.open_until(now), sink.open_until(now))
    };
    let plan = plan(sink_with(windows).replace("7001]}", &format!("7001], {windows}}}")));
    for (now, end) in [
        ("2026-10-03T21:00:00Z", Some("2026-10-04T00:00:00Z")),
        ("2026-10-05T21:00:00Z", None),
        ("2026-12-24T18:00:00Z", Some("2026-12-25T05:00:00Z")),
    ] {
        let end = end.and_then(date_and_time);
        assert_eq!(until(&plan, now), (end, end), "{now}");
    }
}

#[test]
fn windows_that_make_no_sense_are_refused() {
    for (window, said) in [
        ("days: [sat], from: 22, to: '02:00'", "from: text belongs here, not a number"),
        ("days: [sat], from: '22', to: '02:00'", "from: a time such as 22:00, or a date and time"),
        ("days: [sat], from: '22:00', to: '25:00'", "to: a time such as 22:00, or a date and time"),
        (
            "days: [sat], from: '22:00', to: '2026-12-25T06:00:00Z'",
            "to: beside `days` a time such as 22:00 belongs here",
        ),
        ("from: '22:00', to: '2026-12-25T06:00:00Z'", "from: without `days` a date and time"),
        ("days: [sat], from: '22:00', to: '22:00'", "from: no time is left until `to`"),
        ("days: [sat], from: '24:00', to: '02:00'", "from: no time is left until `to`"),
        ("days: [sat, sat], from: '22:00', to: '23:00'", "days: a day stands twice"),
        ("days: [sa], from: '22:00', to: '23:00'", "one of `mon`, `tue`"),
        ("days: [sat], from: '22:00', to: '23:00', utc_offset: CET", "utc_offset: a distance from UTC such as +02:00"),
        ("from: '2026-12-25T06:00:00Z', to: '2026-12-25T07:00:00+01:00'", "to: must be later than `from`"),
        (
            "from: '2026-12-25T06:00:00Z', to: '2026-12-25T07:00:00Z', utc_offset: '+01:00'",
            "utc_offset: a date and time says itself",
        ),
        ("days: [sat], from: '22:00'", "`to` is missing"),
    ] {
        refused(sink_with(&format!("maintenance: [{{{window}}}]")), said);
    }
    let many = vec!["{days: [sat], from: '22:00', to: '23:00'}"; 65].join(", ");
    refused(sink_with(&format!("maintenance: [{many}]")), "sinks[0].maintenance: at most 64 are allowed, not 65");
}

#[test]
fn a_window_need_not_be_quoted() {
    let text = sink_with("maintenance: [{days: [mon], from: 06:00, to: 22:00, utc_offset: +05:30}]");
    let now = date_and_time("2026-10-05T12:00:00Z").unwrap();
    let end = plan(text).sinks["erp-orders"].maintenance.open_until(now);
    assert_eq!(end, date_and_time("2026-10-05T16:30:00Z"));
}

#[test]
fn a_route_with_both_journeys_may_fall_back_and_let_the_client_choose() {
    let action = |more: &str| {
        let checked = plan(orders(&format!("{BOTH}{more}")));
        let action = checked.router.routes()[1].action.clone();
        (action.otherwise, action.prefer)
    };
    assert_eq!(action(", else: enqueue"), (Otherwise::Enqueue, false));
    assert_eq!(action(", prefer: true"), (Otherwise::Refuse, true));
    assert_eq!(action(", plugin: orders, else: refuse"), (Otherwise::Refuse, false));
    refused(orders(BOTH), "only a `plugin`, `else` or `prefer` can choose between `forward` and `enqueue`");
    let one = "forward: {upstreams: [erp]}, else: enqueue, prefer: true";
    refused(orders(one), "routes[1].else: this needs both `forward` and `enqueue`");
    refused(orders(one), "routes[1].prefer: this needs both `forward` and `enqueue`");
    let public =
        small_with("auth: public, forward: {upstreams: [erp]}", &format!("auth: public, {BOTH}, else: enqueue"));
    refused(public, "routes[0].enqueue: an event belongs to a tenant");
}

#[test]
fn events_of_a_route_have_its_lane() {
    let lane = |more: &str| {
        let plan = plan(orders(&format!("enqueue: {{sinks: [erp-orders], event_type: x{more}}}")));
        plan.router.routes()[1].action.enqueue.as_ref().unwrap().lane
    };
    assert_eq!(lane(""), Lane::Normal);
    for known in Lane::ALL {
        assert_eq!(lane(&format!(", lane: {}", known.label())), known);
    }
    let wrong = orders("enqueue: {sinks: [erp-orders], event_type: x, lane: urgent}");
    refused(wrong, "one of `critical`, `high`, `normal`, `low` belongs here");
}
