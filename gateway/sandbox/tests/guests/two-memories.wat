;; Two guest modules with a memory each in one component: the first grows its own by 600 pages, then asks the second to
;; do the same. Answers 200 if the second was refused, 500 if it was not.
(component
  (type $pairs (list (tuple string string)))
  (type $request' (record
    (field "method" string) (field "path" string) (field "query" string) (field "route" string)
    (field "parameters" $pairs) (field "headers" $pairs) (field "tenant" string) (field "subject" string)
    (field "claims" string) (field "correlation-id" string) (field "body" (list u8)) (field "extra" $pairs)))
  (type $forward' (record
    (field "upstream" (option string)) (field "path" (option string)) (field "set-headers" $pairs)
    (field "remove-headers" (list string)) (field "body" (option (list u8))) (field "extra" $pairs)))
  (type $enqueue' (record
    (field "event-type" (option string)) (field "key" (option string)) (field "content-type" (option string))
    (field "body" (option (list u8))) (field "sinks" (list string)) (field "extra" $pairs)))
  (type $respond' (record
    (field "status" u16) (field "headers" $pairs) (field "body" (list u8)) (field "extra" $pairs)))
  (type $problem' (record
    (field "status" u16) (field "kind" string) (field "title" string) (field "detail" string)
    (field "pointer" (option string)) (field "extra" $pairs)))
  (export $request "request" (type $request'))
  (export $forward "forward" (type $forward'))
  (export $enqueue "enqueue" (type $enqueue'))
  (export $respond "respond" (type $respond'))
  (export $problem "problem" (type $problem'))
  (type $decision' (variant
    (case "forward" $forward) (case "enqueue" $enqueue) (case "respond" $respond) (case "refuse" $problem)))
  (export $decision "decision" (type $decision'))

  (core module $second
    (memory 1)
    (func (export "grow") (result i32) (memory.grow (i32.const 600))))
  (core module $first
    (import "second" "grow" (func $grow (result i32)))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "on-request") (param i32) (result i32)
      (if (i32.eq (memory.grow (i32.const 600)) (i32.const -1)) (then (unreachable)))
      (i32.store8 (i32.const 0) (i32.const 2))
      (i32.store16 (i32.const 4)
        (if (result i32) (i32.eq (call $grow) (i32.const -1)) (then (i32.const 200)) (else (i32.const 500))))
      (i32.const 0)))
  (core instance $second (instantiate $second))
  (core instance $first (instantiate $first (with "second" (instance $second))))
  (func $on-request (param "request" $request) (result $decision)
    (canon lift (core func $first "on-request")
      (memory (core memory $first "memory")) (realloc (core func $first "realloc"))))
  (instance $hook (export "on-request" (func $on-request)))
  (export "sluis:plugin/on-request@1.0.0" (instance $hook)))
