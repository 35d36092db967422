;; Returns the decision whose number is the body's first byte; their records lie ready, 128 bytes apart.
(module
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
  (data (i32.const 1024) "n1")
  (data (i32.const 1026) "v1")
  (data (i32.const 1028) "n2")
  (data (i32.const 1030) "v2")
  (data (i32.const 1032) "erp")
  (data (i32.const 1035) "/b1s")
  (data (i32.const 1039) "body")
  (data (i32.const 1043) "order")
  (data (i32.const 1048) "key")
  (data (i32.const 1051) "a/b")
  (data (i32.const 1054) "kind")
  (data (i32.const 1058) "title")
  (data (i32.const 1063) "detail")
  (data (i32.const 1069) "/a")
  ;; pairs, then names
  (data (i32.const 2048) "\00\04\00\00\02\00\00\00\02\04\00\00\02\00\00\00\04\04\00\00\02\00\00\00\06\04\00\00\02\00\00\00")
  (data (i32.const 2112) "\00\04\00\00\02\00\00\00\04\04\00\00\02\00\00\00")
  ;; forward
  (data (i32.const 4096) "\00\00\00\00\01\00\00\00\08\04\00\00\03\00\00\00\01\00\00\00\0b\04\00\00\04\00\00\00\00\08\00\00\02\00\00\00\40\08\00\00\02\00\00\00\01\00\00\00\0f\04\00\00\04\00\00\00\00\08\00\00\02\00\00\00")
  ;; enqueue
  (data (i32.const 4224) "\01\00\00\00\01\00\00\00\13\04\00\00\05\00\00\00\01\00\00\00\18\04\00\00\03\00\00\00\01\00\00\00\1b\04\00\00\03\00\00\00\01\00\00\00\0f\04\00\00\04\00\00\00\40\08\00\00\02\00\00\00\00\08\00\00\02\00\00\00")
  ;; respond
  (data (i32.const 4352) "\02\00\00\00\2b\01\00\00\00\08\00\00\02\00\00\00\0f\04\00\00\04\00\00\00\00\08\00\00\02\00\00\00")
  ;; refuse
  (data (i32.const 4480) "\03\00\00\00\a6\01\00\00\1e\04\00\00\04\00\00\00\22\04\00\00\05\00\00\00\27\04\00\00\06\00\00\00\01\00\00\00\2d\04\00\00\02\00\00\00\00\08\00\00\02\00\00\00")
  ;; forward, nothing changed
  (data (i32.const 4608) "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
  (func (export "sluis:plugin/on-request@1.0.0#on-request") (param $request i32) (result i32)
    (i32.add
      (i32.const 4096)
      (i32.mul (i32.const 128) (i32.load8_u (i32.load (i32.add (local.get $request) (i32.const 80))))))))
