;; Looks for what its own last call left, then leaves a pattern for the next: 200 if there was nothing, 500 otherwise.
;; With a body that begins with 1 it writes the pattern first, and finds it.
(module
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 16384))
  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (table $t 9000 funcref)
  (elem declare func $on-request)
  (func $write
    (memory.fill (i32.const 65536) (i32.const 0xa5) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 65536)))
    (table.fill $t (i32.const 0) (ref.func $on-request) (i32.const 9000)))
  (func $on-request (export "sluis:plugin/on-request@1.0.0#on-request") (param $request i32) (result i32)
    (local $at i32) (local $found i32)
    (drop (memory.grow (i32.const 99)))
    (if (i32.load8_u (i32.load (i32.add (local.get $request) (i32.const 80)))) (then (call $write)))
    (local.set $at (i32.const 65536))
    (loop $bytes
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (local.set $found (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $bytes (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
    (local.set $at (i32.const 0))
    (loop $elements
      (if (i32.eqz (ref.is_null (table.get $t (local.get $at)))) (then (local.set $found (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $elements (i32.lt_u (local.get $at) (i32.const 9000))))
    (call $write)
    (i32.store8 (i32.const 0) (i32.const 2))
    (i32.store16 (i32.const 4) (select (i32.const 500) (i32.const 200) (local.get $found)))
    (i32.const 0)))
