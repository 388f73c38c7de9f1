;; Answers in Latin-1 with control characters of the upper half inside a JSON string. The wall: none is needed: the value
;; is the text it is, and is escaped where it is shown.
(module
  (memory (export "memory") 1)
  (data (i32.const 64) "\22\9b31m\22")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 24) (i32.const 64))
    (i32.store (i32.const 28) (i32.const 6))
    i32.const 16))
