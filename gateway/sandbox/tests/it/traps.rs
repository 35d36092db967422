//! Guests that fall, or lie about what they return (catalogue 2G): the call is refused, the process lives, and the next
//! call is as good as the first.

use std::time::Duration;

use sluis_model::hook::{CallFault, OutputFault};
use sluis_model::plan::CallLimits;

use crate::support::*;

#[tokio::test]
async fn a179_every_trap_says_what_it_was() {
    let house = House::new();
    let echo = house.guest("echo").await;
    let items = "(table $t 2 funcref) (type $other (func (param i64))) (elem (i32.const 0) $on-request)";
    for (body, expected) in [
        ("(unreachable)", "unreachable"),
        ("(i32.div_s (i32.const 1) (i32.const 0))", "divide by zero"),
        ("(i32.rem_u (i32.const 1) (i32.const 0))", "divide by zero"),
        ("(i32.div_s (i32.const 0x80000000) (i32.const -1))", "integer overflow"),
        ("(i32.load (i32.const -4))", "out of bounds memory access"),
        ("(i32.load offset=0xfffffff0 (i32.const 0x7fffffff))", "out of bounds memory access"),
        ("(i32.store (i32.const 131072) (i32.const 0)) (i32.const 0)", "out of bounds memory access"),
        ("(memory.fill (i32.const 131000) (i32.const 1) (i32.const 73)) (i32.const 0)", "out of bounds memory access"),
        ("(call_indirect (type $other) (i64.const 0) (i32.const 0)) (i32.const 0)", "indirect call type mismatch"),
        ("(call_indirect (param i32) (result i32) (i32.const 0) (i32.const 1))", "uninitialized element"),
        ("(call_indirect (param i32) (result i32) (i32.const 0) (i32.const 2))", "out of bounds"),
        ("(i32.trunc_f64_s (f64.const 1e300))", "integer overflow"),
        ("(i32.trunc_f32_u (f32.const nan))", "invalid conversion to integer"),
        ("(table.set $t (i32.const 2) (ref.null func)) (i32.const 0)", "out of bounds table access"),
    ] {
        let plugin = house.load(&module("", items, body)).await.unwrap();
        let text = trap(&call(&plugin).await);
        assert!(text.contains(expected), "{body}: {text}");
        assert!(text.contains("in on-request at 0x"), "{body}: {text}");
        assert!(call(&echo).await.result.is_ok(), "after {body}");
    }
}

#[tokio::test]
async fn a180_last_words_are_escaped_and_cut() {
    let house = House::new();
    let items = r#"(data (i32.const 1024) "error\1b[2Jpanicked at 'no'\0a\00")"#;
    // Its last line at level error, and what trapped.
    let body = "(call $log (i32.const 1024) (i32.const 5) (i32.const 1029) (i32.const 22)) (unreachable)";
    let plugin = house.load(&module(LOG, items, body)).await.unwrap();
    let text = trap(&call(&plugin).await);
    assert!(text.contains("unreachable"), "{text}");
    assert!(text.contains(r"\u{1b}[2Jpanicked at 'no'\n"), "{text}");
    // A megabyte of it.
    let body = "(drop (memory.grow (i32.const 20)))
        (memory.fill (i32.const 2048) (i32.const 65) (i32.const 1000000))
        (call $log (i32.const 1024) (i32.const 5) (i32.const 2048) (i32.const 1000000)) (unreachable)";
    let plugin = house.load(&module(LOG, items, body)).await.unwrap();
    let text = trap(&call(&plugin).await);
    assert!(text.len() <= 1024 && text.contains("AAAA…"), "{text}");
}

#[tokio::test]
async fn a169_function_names_are_escaped_and_cut() {
    let house = House::new();
    let name = format!("evil\\1b[31m\\0a{}", "x".repeat(10_000));
    let items = format!(r#"(func $"{name}" (unreachable))"#);
    let plugin = house.load(&module("", &items, &format!(r#"(call $"{name}") (i32.const 0)"#))).await.unwrap();
    let text = trap(&call(&plugin).await);
    assert!(text.contains(r"in evil\u{1b}[31m\nxxx") && text.len() <= 1024, "{text}");
    assert!(text.contains(" < on-request at 0x"), "{text}");
}

/// Stores words from address 0 on, and returns that address as the decision.
fn decision(words: &[u32]) -> String {
    let mut body = String::new();
    for (index, word) in words.iter().enumerate() {
        body.push_str(&format!("(i32.store (i32.const {}) (i32.const {word:#x}))", index * 4));
    }
    format!("{body} (i32.const 0)")
}

#[tokio::test]
async fn a181_what_is_returned_is_not_believed() {
    let house = House::new();
    let far = 0xffff_fff0;
    let half = 0x8000_0000;
    for (what, body) in [
        ("result out of bounds", "(i32.const -16)".to_owned()),
        ("result ends out of bounds", "(i32.const 131068)".into()),
        ("result misaligned", "(i32.const 2)".into()),
        ("no such decision", decision(&[4])),
        ("no such decision by far", decision(&[0xff])),
        ("no such option", decision(&[0, 2, 0, 0])),
        ("string out of bounds", decision(&[0, 1, far, 16])),
        ("string of 2^31", decision(&[0, 1, 0, half])),
        ("string of 2^32 - 1", decision(&[0, 1, 1, u32::MAX])),
        ("string not UTF-8", format!("(i32.store (i32.const 64) (i32.const -1)) {}", decision(&[0, 1, 64, 4]))),
        ("surrogate half", format!("(i32.store (i32.const 64) (i32.const 0x80a0ed)) {}", decision(&[0, 1, 64, 3]))),
        ("pairs out of bounds", decision(&[2, 200, far, 1])),
        ("2^31 pairs", decision(&[2, 200, 0, half])),
        ("2^28 pairs, in bytes zero", decision(&[2, 200, 0, 0x1000_0000])),
        ("pairs misaligned", decision(&[2, 200, 2, 1])),
        ("body out of bounds", decision(&[2, 200, 0, 0, 131072, 1])),
        ("body of 2^31", decision(&[2, 200, 0, 0, 0, half])),
        (
            "a pair out of bounds",
            format!(
                "(i32.store (i32.const 64) (i32.const -8)) (i32.store (i32.const 68) (i32.const 9)) {}",
                decision(&[2, 200, 64, 1])
            ),
        ),
    ] {
        let plugin = house.load(&module("", "", &body)).await.unwrap();
        let text = trap(&call(&plugin).await);
        assert!(!text.is_empty() && text.len() <= 1024, "{what}: {text}");
    }
}

#[tokio::test]
async fn a181_a_small_guest_cannot_return_a_large_result() {
    let house = House::new();
    // A thousand header pairs, each naming the same 14,000 bytes twice: 28 MB from one page.
    let body = format!(
        "(local $n i32)
         (loop $again
           (i32.store (i32.add (i32.const 65536) (i32.shl (local.get $n) (i32.const 3))) (i32.const 1000))
           (i32.store (i32.add (i32.const 65540) (i32.shl (local.get $n) (i32.const 3))) (i32.const 14000))
           (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 2000))))
         {}",
        decision(&[2, 200, 65536, 1000])
    );
    let plugin = house.load(&module("", "", &body)).await.unwrap();
    let limits = CallLimits { cpu: Duration::from_secs(5), ..limits() };
    assert_eq!(call_with(&plugin, b"", &limits).await.result, Err(CallFault::Output(OutputFault::Body)));
    // And a body past what the caller allows.
    let body = format!("(drop (memory.grow (i32.const 40))) {}", decision(&[2, 200, 0, 0, 0, 2_000_000]));
    let plugin = house.load(&module("", "", &body)).await.unwrap();
    assert_eq!(call_with(&plugin, b"", &limits).await.result, Err(CallFault::Output(OutputFault::Body)));
    let outcome = plugin.on_request(request(b""), &Default::default(), &limits, 2_000_000).await;
    assert_eq!(status(&outcome), 200);
}

#[tokio::test]
async fn a182_an_allocator_is_not_believed() {
    let house = House::new();
    let with = |allocator: &str| {
        let module = module("", "", &respond("(i32.const 200)"));
        module.replace("(local $at i32)", &format!("(local $at i32) {allocator}"))
    };
    for (what, allocator) in [
        ("out of bounds", "(return (i32.const -64))"),
        ("at the very end", "(return (i32.const 131072))"),
        ("misaligned", "(return (i32.const 1025))"),
        ("trapping", "(unreachable)"),
    ] {
        let plugin = house.load(&with(allocator)).await.unwrap();
        let outcome = call_with(&plugin, b"some body", &limits()).await;
        assert!(!trap(&outcome).is_empty(), "{what}");
    }
    // Always the same place: what the guest overwrites is its own request, and what it returns is garbage.
    let plugin = house.load(&with("(return (i32.const 0))")).await.unwrap();
    assert!(!trap(&call_with(&plugin, b"some body", &limits()).await).is_empty());
    // Growing each time ends at the limit.
    let plugin = house.load(&with("(drop (memory.grow (i32.const 200)))")).await.unwrap();
    let outcome = call_with(&plugin, b"some body", &limits()).await;
    assert!(outcome.usage.memory <= limits().memory, "{outcome:?}");
}

#[tokio::test]
async fn a186_a_guest_is_not_entered_twice() {
    let house = House::new();
    // The allocator runs inside the host's call of `config.get`; from there it calls the host again.
    let allocator = "(local $at i32) (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
        (if (global.get $armed) (then (call $get (i32.const 64) (i32.const 1) (i32.const 128))))";
    let text = module(
        CONFIG,
        r#"(global $armed (mut i32) (i32.const 0)) (data (i32.const 64) "k")"#,
        &format!(
            "(global.set $armed (i32.const 1)) (call $get (i32.const 64) (i32.const 1) (i32.const 128)) {}",
            respond("(i32.const 200)")
        ),
    )
    .replace("(local $at i32)", allocator);
    let plugin = house.load(&text).await.unwrap();
    let outcome = plugin.on_request(request(b""), &scope(&[("k", "value")]), &limits(), MIB).await;
    assert!(trap(&outcome).contains("leave component"), "{outcome:?}");
}

#[tokio::test]
async fn last_words_come_as_numbers_and_are_cut() {
    let house = House::new();
    let note = format!(r#"(import "sluis:plugin/panic@1.0.0" "note" (func $note (param i32 {})))"#, "i64 ".repeat(15));
    let words = |text: &[u8; 8]| format!("(i64.const {}) ", i64::from_le_bytes(*text));
    let rest = "(i64.const 0) ".repeat(13);
    let first = format!("(call $note (i32.const 10) {}{}{rest})", words(b"panicked"), words(b" \x1b=never"));
    // A length past the words, and more of them than anybody reads.
    let more = format!(
        "(loop $more (call $note (i32.const 255) {}) (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 500))))",
        words(b"!!!!!!!!").repeat(15)
    );
    let body = format!("(local $n i32) {first} {more} unreachable");
    let plugin = house.load(&module(&note, "", &body)).await.unwrap();
    let limits =
        CallLimits { host_calls: 1_000, wall: Duration::from_secs(5), cpu: Duration::from_secs(1), ..limits() };
    let CallFault::Trap(text) = call_with(&plugin, b"", &limits).await.result.unwrap_err() else { panic!() };
    assert!(text.contains(r"panicked \u{1b}!!!!!!!!"), "{text}");
    assert!(text.len() <= 1024, "{}", text.len());
}
