//! The part of WASI that standard libraries pull in: harmless, bounded, coarse.

use sluis_model::hook::{Budget, CallFault};
use sluis_model::plan::CallLimits;

use crate::support::*;

/// Imports as a tool chain's standard library has them, of a later patch release than the linker names.
const WASI: &str = include_str!("../guests/wasi.wit");

/// A core module in text as a component of `request` and the world of `guests/wasi.wit`.
fn with_wasi(text: &str) -> Vec<u8> {
    component_with("request", text, &[("wasi", WASI)])
}

fn print(bytes: u32) -> String {
    format!(
        "(local $out i32) (local.set $out (call $stderr))
         (call $write (local.get $out) (i32.const 1024) (i32.const {bytes}) (i32.const 64))
         (call $drop (local.get $out))"
    )
}

const STDERR: &str = r#"
  (import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
  (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.6" "[resource-drop]output-stream" (func $drop (param i32)))"#;

#[tokio::test]
async fn a180_a_panic_on_stderr_is_in_the_trap() {
    let house = House::new();
    let items = r#"(data (i32.const 1024) "thread panicked at src/lib.rs:7:5:\0a\1b[31mno such customer\00")"#;
    let text = module(STDERR, items, &format!("{} (unreachable)", print(57)));
    let plugin = house.load_bytes("a.wasm", &with_wasi(&text), &[]).await.unwrap();
    let text = trap(&call(&plugin).await);
    assert!(text.contains(r"panicked at src/lib.rs:7:5:\n\u{1b}[31mno such customer"), "{text}");
    assert!(text.contains("in on-request"), "{text}");
    // Without a trap it is nobody's business.
    let text = module(STDERR, items, &format!("{} {}", print(57), respond("(i32.const 200)")));
    let plugin = house.load_bytes("a.wasm", &with_wasi(&text), &[]).await.unwrap();
    let outcome = call(&plugin).await;
    assert_eq!((status(&outcome), outcome.logs.len()), (200, 0));
}

#[tokio::test]
async fn a180_a_megabyte_on_stderr_is_cut() {
    let house = House::new();
    let grow = "(drop (memory.grow (i32.const 20))) (memory.fill (i32.const 1024) (i32.const 65) (i32.const 1000000))";
    let body = print(1_000_000).replace("(local.set $out", &format!("{grow} (local.set $out"));
    let text = module(STDERR, "", &format!("{body} (unreachable)"));
    let plugin = house.load_bytes("a.wasm", &with_wasi(&text), &[]).await.unwrap();
    let text = trap(&call(&plugin).await);
    assert!(text.contains("AAAA…") && text.len() <= 1024, "{text}");
}

#[tokio::test]
async fn a184_handles_are_bounded() {
    let house = House::new();
    let text = module(STDERR, "", "(loop $again (drop (call $stderr)) (br $again)) (unreachable)");
    let plugin = house.load_bytes("a.wasm", &with_wasi(&text), &[]).await.unwrap();
    let limits = CallLimits { host_calls: 1_000_000, ..limits() };
    let outcome = call_with(&plugin, b"", &limits).await;
    assert!(trap(&outcome).contains("handle") || trap(&outcome).contains("resource"), "{outcome:?}");
    assert!(outcome.usage.host_calls <= 1_001, "{outcome:?}");
}

#[tokio::test]
async fn a185_a_handle_is_good_once_and_for_its_own_type() {
    let house = House::new();
    for body in [
        // Used after it was dropped.
        "(local $out i32) (local.set $out (call $stderr)) (call $drop (local.get $out))
         (call $write (local.get $out) (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 0)",
        // Dropped twice.
        "(local $out i32) (local.set $out (call $stderr)) (call $drop (local.get $out)) (call $drop (local.get $out)) (i32.const 0)",
        // Never had.
        "(call $drop (i32.const 7)) (i32.const 0)",
        "(call $write (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 0)",
        // Of another type.
        "(call $drop (call $stdin)) (i32.const 0)",
    ] {
        let stdin = r#"(import "wasi:cli/stdin@0.2.6" "get-stdin" (func $stdin (result i32)))"#;
        let text = module(&format!("{STDERR} {stdin}"), "", body);
        let plugin = house.load_bytes("a.wasm", &with_wasi(&text), &[]).await.unwrap();
        assert!(trap(&call(&plugin).await).contains("handle"), "{body}: {}", trap(&call(&plugin).await));
    }
}

#[tokio::test]
async fn a187_printing_counts_as_host_calls() {
    let house = House::new();
    let text = module(STDERR, "", "(local $out i32) (local.set $out (call $stderr))
        (loop $again (call $write (local.get $out) (i32.const 0) (i32.const 1) (i32.const 64)) (br $again)) (unreachable)");
    let plugin = house.load_bytes("a.wasm", &with_wasi(&text), &[]).await.unwrap();
    assert_eq!(call(&plugin).await.result, Err(CallFault::Budget(Budget::HostCalls)));
}

#[tokio::test]
async fn a190_clocks_tell_whole_milliseconds() {
    let house = House::new();
    let imports = r#"
      (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))
      (import "wasi:clocks/monotonic-clock@0.2.6" "resolution" (func $resolution (result i64)))
      (import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall (param i32)))"#;
    let body = format!(
        "(call $wall (i32.const 64))
         (if (i64.ne (i64.rem_u (call $now) (i64.const 1000000)) (i64.const 0)) (then (unreachable)))
         (if (i64.ne (call $resolution) (i64.const 1000000)) (then (unreachable)))
         (if (i32.rem_u (i32.load (i32.const 72)) (i32.const 1000000)) (then (unreachable)))
         (if (i64.lt_u (i64.load (i32.const 64)) (i64.const 1700000000)) (then (unreachable)))
         {}",
        respond("(i32.const 200)")
    );
    let plugin = house.load_bytes("a.wasm", &with_wasi(&module(imports, "", &body)), &[]).await.unwrap();
    for _ in 0..20 {
        assert_eq!(status(&call(&plugin).await), 200);
    }
}

#[tokio::test]
async fn a193_random_is_bounded() {
    let house = House::new();
    let imports = r#"
      (import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param i64 i32)))
      (import "wasi:random/insecure-seed@0.2.6" "insecure-seed" (func $seed (param i32)))"#;
    let with = |count: u32| {
        let body = format!(
            "(call $seed (i32.const 128)) (call $random (i64.const {count}) (i32.const 64))
             (if (i64.eqz (i64.load (i32.const 128))) (then (unreachable)))
             {}",
            respond("(i32.load (i32.const 68))")
        );
        with_wasi(&module(imports, "", &body))
    };
    let small = house.load_bytes("a.wasm", &with(300), &[]).await.unwrap();
    assert_eq!(status(&call(&small).await), 300);
    let large = house.load_bytes("a.wasm", &with(64 << 20), &[]).await.unwrap();
    assert!(trap(&call(&large).await).contains("random bytes"));
}

#[tokio::test]
async fn leaving_is_a_trap() {
    let house = House::new();
    let imports = r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))"#;
    let text = module(imports, "", "(call $exit (i32.const 0)) (i32.const 0)");
    let plugin = house.load_bytes("a.wasm", &with_wasi(&text), &[]).await.unwrap();
    assert!(trap(&call(&plugin).await).contains("called exit"));
}

#[tokio::test]
async fn the_environment_is_empty_and_stdin_is_closed() {
    let house = House::new();
    let imports = r#"
      (import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
      (import "wasi:cli/environment@0.2.6" "get-arguments" (func $arguments (param i32)))
      (import "wasi:cli/stdin@0.2.6" "get-stdin" (func $stdin (result i32)))
      (import "wasi:cli/terminal-stdout@0.2.6" "get-terminal-stdout" (func $terminal (param i32)))
      (import "wasi:io/streams@0.2.6" "[method]input-stream.read" (func $read (param i32 i64 i32)))
      (import "wasi:io/streams@0.2.6" "[method]input-stream.subscribe" (func $subscribe (param i32) (result i32)))
      (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
      (import "wasi:io/poll@0.2.6" "[method]pollable.ready" (func $ready (param i32) (result i32)))"#;
    let body = format!(
        "(local $in i32) (local $wait i32)
         (i64.store (i32.const 64) (i64.const -1)) (i64.store (i32.const 72) (i64.const -1))
         (call $environment (i32.const 64)) (call $arguments (i32.const 72)) (call $terminal (i32.const 80))
         (if (i32.load (i32.const 68)) (then (unreachable)))
         (if (i32.load (i32.const 76)) (then (unreachable)))
         (if (i32.load8_u (i32.const 80)) (then (unreachable)))
         (local.set $in (call $stdin))
         (local.set $wait (call $subscribe (local.get $in)))
         (call $block (local.get $wait))
         (if (i32.eqz (call $ready (local.get $wait))) (then (unreachable)))
         (call $read (local.get $in) (i64.const 100) (i32.const 96))
         (if (i32.ne (i32.load8_u (i32.const 96)) (i32.const 1)) (then (unreachable)))
         (if (i32.ne (i32.load8_u (i32.const 100)) (i32.const 1)) (then (unreachable)))
         {}",
        respond("(i32.const 200)")
    );
    let plugin = house.load_bytes("a.wasm", &with_wasi(&module(imports, "", &body)), &[]).await.unwrap();
    assert_eq!(status(&call(&plugin).await), 200);
}
