//! Guests that use up what they were given: time, memory, tables, host calls, log lines (catalogue 2G).

use std::time::{Duration, Instant};

use sluis_model::hook::{Budget, CallFault, ResponseView};
use sluis_model::plan::CallLimits;
use sluis_sandbox::LogLevel;

use crate::support::*;

const SPIN: &str = "(loop $again (br $again)) (unreachable)";
/// What a tick and a busy test machine may add to a budget of CPU time; in the product it is one tick.
const OVERRUN: Duration = Duration::from_millis(15);

fn patient() -> CallLimits {
    CallLimits { cpu: Duration::from_secs(10), ..limits() }
}

#[tokio::test]
async fn a172_an_endless_loop_ends_with_its_cpu_budget() {
    let house = House::new();
    let endless = house.load(&module("", "", SPIN)).await.unwrap();
    let outcome = call(&endless).await;
    assert_eq!(outcome.result, Err(CallFault::Budget(Budget::Cpu)));
    assert!(outcome.usage.cpu >= limits().cpu, "{:?}", outcome.usage);
    assert!(outcome.usage.cpu < limits().cpu + OVERRUN, "{:?}", outcome.usage);

    let head = module("", "", SPIN).replace("on-request@1.0.0#on-request", "on-request-head@1.0.0#on-request-head");
    let head = house.load_bytes("head.wasm", &component("request-head", &head), &[]).await.unwrap();
    assert_eq!(call(&head).await.result, Err(CallFault::Budget(Budget::Cpu)));

    let response = guest("on-response").replace("(i32.store16", "(loop $again (br $again)) (i32.store16");
    let response = house.load_bytes("response.wasm", &component("response", &response), &[]).await.unwrap();
    let view = ResponseView { status: 200, headers: &[], body: b"", route: "r", tenant: "t", correlation_id: "c" };
    let outcome = response.on_response(view, &Default::default(), &limits(), MIB).await;
    assert_eq!(outcome.result, Err(CallFault::Budget(Budget::Cpu)));
}

#[tokio::test]
async fn a172_a_loop_in_the_allocator_ends_too() {
    let house = House::new();
    let text = module("", "", SPIN).replace("(local $at i32)", "(local $at i32) (loop $again (br $again))");
    let plugin = house.load(&text).await.unwrap();
    assert_eq!(call_with(&plugin, b"body", &limits()).await.result, Err(CallFault::Budget(Budget::Cpu)));
}

#[tokio::test]
async fn a173_small_calls_in_a_loop_end_too() {
    let house = House::new();
    let functions = "(type $f (func)) (table 1 funcref) (elem (i32.const 0) $nothing) (func $nothing (type $f))";
    let body = "(loop $again (call $nothing) (call_indirect (type $f) (i32.const 0)) (br $again)) (unreachable)";
    let plugin = house.load(&module("", functions, body)).await.unwrap();
    assert_eq!(call(&plugin).await.result, Err(CallFault::Budget(Budget::Cpu)));
}

#[tokio::test]
async fn a174_bulk_operations_overrun_by_little() {
    let house = House::new();
    let body = "(drop (memory.grow (i32.const 600)))
        (loop $again
          (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))
          (memory.copy (i32.const 16777216) (i32.const 0) (i32.const 16777216))
          (br $again))
        (unreachable)";
    let plugin = house.load(&module("", "", body)).await.unwrap();
    let outcome = call(&plugin).await;
    assert_eq!(outcome.result, Err(CallFault::Budget(Budget::Cpu)));
    // The first touch of each page is slow; the operation it happens in is one that no tick can interrupt.
    assert!(outcome.usage.cpu < limits().cpu + 4 * OVERRUN, "{:?}", outcome.usage);
}

#[tokio::test]
async fn a175_recursion_traps_and_the_process_lives() {
    let house = House::new();
    let endless = "(func $down (param i64) (result i64)
        (i64.add (call $down (i64.add (local.get 0) (i64.const 1))) (local.get 0)))";
    let plugin = house.load(&module("", endless, "(drop (call $down (i64.const 1))) (unreachable)")).await.unwrap();
    for _ in 0..20 {
        assert!(trap(&call(&plugin).await).contains("call stack exhausted"));
    }
}

#[tokio::test]
async fn a176_memory_grows_to_its_limit_and_no_further() {
    let house = House::new();
    let until_refused = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    let plugin = house.load(&module("", "", &format!("{until_refused} {}", respond("(i32.const 200)")))).await.unwrap();
    let outcome = call_with(&plugin, b"", &patient()).await;
    assert_eq!((status(&outcome), outcome.usage.memory), (200, 64 * MIB));
    let small = CallLimits { memory: 3 * 65536 + 1, ..patient() };
    assert_eq!(call_with(&plugin, b"", &small).await.usage.memory, 3 * 65536);

    // To the limit in one step is fine, one page past it is not.
    let body = format!(
        "(if (i32.ne (memory.grow (i32.const 1023)) (i32.const -1)) (then (unreachable)))
         (if (i32.ne (memory.grow (i32.const 1022)) (i32.const 2)) (then (unreachable)))
         (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
         (if (i32.ne (memory.grow (i32.const -1)) (i32.const -1)) (then (unreachable)))
         {}",
        respond("(i32.const 200)")
    );
    let plugin = house.load(&module("", "", &body)).await.unwrap();
    assert_eq!(status(&call(&plugin).await), 200);
}

#[tokio::test]
async fn a176_a_hundred_thousand_refused_grows_cost_nothing() {
    let house = House::new();
    let body = format!(
        "(local $n i32)
         (loop $again
           (drop (memory.grow (i32.const 65535)))
           (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000))))
         {}",
        respond("(i32.const 200)")
    );
    let plugin = house.load(&module("", "", &body)).await.unwrap();
    let outcome = call_with(&plugin, b"", &patient()).await;
    assert_eq!((status(&outcome), outcome.usage.memory), (200, 2 * 65536));
}

#[tokio::test]
async fn a176_a_trap_for_want_of_memory_says_so() {
    let house = House::new();
    let body = "(if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then (unreachable))) (i32.const 0)";
    let plugin = house.load(&module("", "", body)).await.unwrap();
    assert_eq!(call(&plugin).await.result, Err(CallFault::Budget(Budget::Memory)));
    // A call with less memory than the component begins with does not begin.
    let fine = house.load(&module("", "", &respond("(i32.const 200)"))).await.unwrap();
    let tiny = CallLimits { memory: 65536, ..limits() };
    assert_eq!(call_with(&fine, b"", &tiny).await.result, Err(CallFault::Budget(Budget::Memory)));
}

#[tokio::test]
async fn a177_tables_grow_to_their_limit_and_no_further() {
    let house = House::new();
    let body = format!(
        "(if (i32.ne (table.grow $t (ref.null func) (i32.const 9990)) (i32.const 10)) (then (unreachable)))
         (if (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1)) (then (unreachable)))
         (if (i32.ne (table.grow $t (ref.null func) (i32.const -1)) (i32.const -1)) (then (unreachable)))
         (if (i32.ne (table.grow $u (ref.null func) (i32.const 10000)) (i32.const 0)) (then (unreachable)))
         (if (i32.ne (table.grow $v (ref.null func) (i32.const 1)) (i32.const -1)) (then (unreachable)))
         {}",
        respond("(i32.const 200)")
    );
    let tables = "(table $t 10 funcref) (table $u 0 funcref) (table $v 0 funcref)";
    let plugin = house.load(&module("", tables, &body)).await.unwrap();
    assert_eq!(status(&call_with(&plugin, b"", &patient()).await), 200);
}

#[tokio::test]
async fn a178_memories_of_several_instances_are_summed() {
    let house = House::new();
    // The first module grows its own memory by 600 pages, the second finds no room for as much again.
    let bytes = wat::parse_str(guest("two-memories")).unwrap();
    let plugin = house.load_bytes("two.wasm", &bytes, &[]).await.unwrap();
    let outcome = call_with(&plugin, b"", &patient()).await;
    assert_eq!(status(&outcome), 200);
    assert_eq!(outcome.usage.memory, (1 + 600 + 1) * 65536);
}

#[tokio::test]
async fn a183_a_host_call_cannot_hand_over_megabytes() {
    let house = House::new();
    let body = "(drop (memory.grow (i32.const 900)))
        (call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 50000000)) (unreachable)";
    let plugin = house.load(&module(LOG, "", body)).await.unwrap();
    let outcome = call(&plugin).await;
    assert!(trap(&outcome).contains("too much data"), "{outcome:?}");
    assert!(outcome.logs.is_empty());
}

#[tokio::test]
async fn a187_host_calls_are_counted() {
    let house = House::new();
    let flood = |call: &str| format!("(loop $again {call} (br $again)) (unreachable)");
    for (import, one) in [
        (CONFIG, "(call $get (i32.const 0) (i32.const 0) (i32.const 64))"),
        (LOG, "(call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"),
    ] {
        let plugin = house.load(&module(import, "", &flood(one))).await.unwrap();
        let outcome = call_with(&plugin, b"", &patient()).await;
        assert_eq!(outcome.result, Err(CallFault::Budget(Budget::HostCalls)));
        assert_eq!(outcome.usage.host_calls, 1_000);
    }
}

#[tokio::test]
async fn a188_log_lines_are_bounded_escaped_and_counted() {
    let house = House::new();
    let items = r#"(data (i32.const 1024) "error\1b[31mred\0a2026-01-01 INFO forged\00")"#;
    let body = format!(
        "(local $n i32)
         (memory.fill (i32.const 2048) (i32.const 120) (i32.const 10000))
         (call $log (i32.const 1024) (i32.const 5) (i32.const 1029) (i32.const 32))
         (call $log (i32.const 0) (i32.const 3) (i32.const 2048) (i32.const 10000))
         (loop $again
           (call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
           (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9998))))
         {}",
        respond("(i32.const 200)")
    );
    let plugin = house.load(&module(LOG, items, &body)).await.unwrap();
    let limits = CallLimits { host_calls: 20_000, ..patient() };
    let outcome = call_with(&plugin, b"", &limits).await;
    assert_eq!(status(&outcome), 200);
    assert_eq!(outcome.logs.len(), 64);
    assert_eq!(outcome.usage.log_lines_dropped, 10_000 - 64);
    assert_eq!(outcome.logs[0].level, LogLevel::Error);
    assert_eq!(outcome.logs[0].message, "\\u{1b}[31mred\\n2026-01-01 INFO forged\\u{0}");
    assert_eq!(outcome.logs[1].level, LogLevel::Info);
    assert_eq!(outcome.logs[1].message.len(), 1024);
    assert!(outcome.logs[1].message.ends_with("x…"));
    assert_eq!(outcome.logs[2].message, "");
}

#[tokio::test]
async fn a191_the_wall_limit_ends_what_the_cpu_budget_would_allow() {
    let house = House::new();
    let plugin = house
        .load(&module(LOG, "", &format!("(call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) {SPIN}")))
        .await
        .unwrap();
    let limits = CallLimits { wall: Duration::from_millis(50), ..patient() };
    let begun = Instant::now();
    let outcome = call_with(&plugin, b"", &limits).await;
    assert_eq!(outcome.result, Err(CallFault::Budget(Budget::Wall)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Its facts are there all the same.
    assert_eq!((outcome.logs.len(), outcome.usage.host_calls), (1, 1));
    assert!(!outcome.usage.cpu.is_zero());
}
