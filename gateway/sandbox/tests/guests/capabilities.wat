;; Logs a warning of two lines, and answers with the value of the setting `key`.
(module
  (import "sluis:plugin/log@1.0.0" "write" (func $write (param i32 i32 i32 i32)))
  (import "sluis:plugin/config@1.0.0" "get" (func $get (param i32 i32 i32)))
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 16384))
  (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (data (i32.const 1024) "warnhello\nworldkey")
  (func (export "sluis:plugin/on-request@1.0.0#on-request") (param $request i32) (result i32)
    (call $write (i32.const 1024) (i32.const 4) (i32.const 1028) (i32.const 11))
    (call $get (i32.const 1039) (i32.const 3) (i32.const 256))                      ;; option at 256
    (i32.store8 (i32.const 0) (i32.const 2))                                        ;; respond
    (i32.store16 (i32.const 4) (i32.const 200))
    (if (i32.load8_u (i32.const 256)) (then (i64.store (i32.const 16) (i64.load (i32.const 260)))))
    (i32.const 0)))
