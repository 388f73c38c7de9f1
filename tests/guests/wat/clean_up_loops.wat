;; Answers, and never ends cleaning up after the answer. The wall: limit `cpu-time-ms`; the answer is not taken.
(module
  (memory (export "memory") 1)
  (data (i32.const 64) "null")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 24) (i32.const 64))
    (i32.store (i32.const 28) (i32.const 4))
    i32.const 16)
  (func (export "cabi_post_vespiary:plugin/tools@0.1.0#call") (param i32) (loop $again (br $again))))
