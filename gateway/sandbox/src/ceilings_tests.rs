#![allow(clippy::unwrap_used)]

use super::*;

fn code(text: &str) -> &'static str {
    code_of(&wat::parse_str(text).unwrap())
}

fn code_of(bytes: &[u8]) -> &'static str {
    match validate(bytes) {
        Ok(()) => "fine",
        Err(error) => error.code(),
    }
}

fn module(items: &str) -> String {
    format!("(component (core module {items}))")
}

#[test]
fn what_compilers_emit_is_fine() {
    let items = r#"
        (memory (export "memory") 1) (table 10 20 funcref) (global (mut i32) (i32.const 1))
        (data "passive") (data (i32.const 0) "active") (elem (i32.const 0) 0)
        (func (param i32 f64) (result i32 i64)
            (memory.copy (i32.const 0) (i32.const 8) (i32.const 8))
            (drop (i32.extend8_s (i32.trunc_sat_f64_s (local.get 1))))
            (drop (i32x4.add (v128.const i32x4 0 0 0 0) (v128.const i32x4 1 1 1 1)))
            (block (result i32 i64) (i32.const 1) (i64.const 2)))"#;
    assert_eq!(code(&module(items)), "fine");
    assert_eq!(code(&module("(global i32 (i32.add (i32.const 1) (i32.const 2)))")), "fine");
}

#[test]
fn a162_features_that_are_off_are_told_from_nonsense() {
    for items in [
        "(memory 1 1 shared)",
        "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
        "(memory i64 1)",
        "(table i64 1 funcref)",
        "(memory 1) (memory 1)",
        "(func (return_call 0))",
        "(type (func)) (table 1 funcref) (func (return_call_indirect (type 0) (i32.const 0)))",
        "(tag (param i32))",
        "(func (try_table))",
        "(type (struct (field i32)))",
        "(type (array i8))",
        "(func (param (ref null 0)))",
        "(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))",
        "(func (drop (ref.i31 (i32.const 1))))",
        "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
        "(type $f (func)) (type $c (cont $f))",
        "(memory 1 (pagesize 1))",
        "(func (param i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 0) (local.get 0) (local.get 0)))",
    ] {
        assert_eq!(code(&module(items)), "feature-disabled", "{items}");
    }
    for text in [
        r#"(component (core module $m (func (export "f") (result i32) unreachable)) (core instance $i (instantiate $m))
            (func async (canon lift (core func $i "f") async)))"#,
        "(component (type (stream u8)))",
        "(component (core func (canon context.get i32 0)))",
        "(component (type (list u8 4)))",
    ] {
        assert_eq!(code(text), "feature-disabled", "{text}");
    }
}

#[test]
fn a148_what_is_not_valid_is_refused() {
    for items in
        ["(func (result i32))", "(func (drop (local.get 3)))", "(func (call 7))", "(data (i32.const 0) \"no memory\")"]
    {
        assert_eq!(code(&module(items)), "not-a-component", "{items}");
    }
    let good = wat::parse_str(module("(func (param i32) (result i32) (local.get 0))")).unwrap();
    // Every byte changed, every length: an answer, never a panic.
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            code_of(&bad);
        }
        assert_ne!(code_of(&good[..at]), "too-complex");
    }
}

#[test]
fn a154_too_much_of_anything_is_too_complex() {
    for (item, count) in [
        ("(func)", 20_001),
        ("(type (func))", 20_001),
        ("(global i32 (i32.const 0))", 20_001),
        ("(import \"a\" \"b\" (func))", 20_001),
        ("(data \"\")", 20_001),
        ("(elem func)", 20_001),
    ] {
        assert_eq!(code(&module(&item.repeat(count))), "too-complex", "{item}");
    }
    let exports: String = (0..20_001).map(|n| format!("(export \"{n}\" (func 0))")).collect();
    assert_eq!(code(&module(&format!("(func){exports}"))), "too-complex");
    // Over several modules too.
    let half = format!("(core module {})", "(func)".repeat(10_001));
    assert_eq!(code(&format!("(component {half}{half})")), "too-complex");
    assert_ne!(code(&format!("(component {})", "(core module)".repeat(5_001))), "fine");
    assert_ne!(code(&format!("(component {})", "(component)".repeat(5_001))), "fine");
}

#[test]
fn a155_large_functions_are_too_complex() {
    assert_eq!(code(&module(&format!("(func {})", "nop ".repeat(FUNCTION_BYTES)))), "too-complex");
    assert_eq!(code(&module(&format!("(func (local {}))", "i32 ".repeat(5_001)))), "too-complex");
    assert_eq!(code(&module(&format!("(func (param {}))", "i32 ".repeat(201)))), "too-complex");
    assert_eq!(code(&module(&format!("(func (result {}) unreachable)", "i32 ".repeat(201)))), "too-complex");
    assert_eq!(code(&module(&format!("(func (br_table {} (i32.const 0)))", "0 ".repeat(5_002)))), "too-complex");
    assert_eq!(code(&module(&format!("(func {} unreachable)", "i32.const 0 ".repeat(10_001)))), "too-complex");
}

#[test]
fn a156_deep_nesting_is_too_complex_and_takes_no_stack() {
    let blocks = |depth: usize| module(&format!("(func {} {})", "block ".repeat(depth), "end ".repeat(depth)));
    assert_eq!(code(&blocks(990)), "fine");
    assert_eq!(code(&blocks(1_000)), "too-complex");
    assert_eq!(code(&blocks(100_000)), "too-complex");
    assert_eq!(code_of(&nested(10)), "fine");
    assert_eq!(code_of(&nested(20)), "too-complex");
    assert_eq!(code_of(&nested(5_000)), "too-complex");
}

/// Components in one another.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..depth {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        let mut length = bytes.len();
        loop {
            let more = length > 0x7f;
            outer.push((length & 0x7f) as u8 | if more { 0x80 } else { 0 });
            length >>= 7;
            if !more {
                break;
            }
        }
        outer.extend_from_slice(&bytes);
        bytes = outer;
    }
    bytes
}

#[test]
fn a157_types_that_double_are_bounded() {
    let doubling = |depth: usize| -> String {
        let mut text = String::from("(component (type $t0 (tuple u8 u8))");
        for n in 1..depth {
            text.push_str(&format!("(type $t{n} (tuple $t{} $t{}))", n - 1, n - 1));
        }
        text + ")"
    };
    assert_eq!(code(&doubling(10)), "fine");
    assert_eq!(code(&doubling(25)), "not-a-component");
    assert_eq!(code(&doubling(1_000)), "not-a-component");
    let flags: String = (0..1_001).map(|n| format!("\"f{n}\" ")).collect();
    assert_ne!(code(&format!("(component (type (flags {flags})))")), "fine");
    let cases: String = (0..10_001).map(|n| format!("(case \"c{n}\")")).collect();
    assert_ne!(code(&format!("(component (type (variant {cases})))")), "fine");
}
