;; Answers with the request's own body, status 200, and a header `x-path` of its path.
(module
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (drop
        (memory.grow
          (i32.add
            (i32.shr_u (i32.sub (global.get $next) (i32.mul (memory.size) (i32.const 65536))) (i32.const 16))
            (i32.const 1)))))
    (local.get $at))
  (data (i32.const 512) "x-path")
  (func (export "sluis:plugin/on-request@1.0.0#on-request") (param $request i32) (result i32)
    (i32.store8 (i32.const 0) (i32.const 2))                                       ;; respond
    (i32.store16 (i32.const 4) (i32.const 200))
    (i32.store (i32.const 8) (i32.const 256))                                      ;; headers
    (i32.store (i32.const 12) (i32.const 1))
    (i32.store (i32.const 256) (i32.const 512))
    (i32.store (i32.const 260) (i32.const 6))
    (i64.store (i32.const 264) (i64.load (i32.add (local.get $request) (i32.const 8))))
    (i64.store (i32.const 16) (i64.load (i32.add (local.get $request) (i32.const 80)))) ;; body
    (i32.const 0)))
