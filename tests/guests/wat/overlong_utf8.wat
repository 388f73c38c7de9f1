;; Answers with a slash in two bytes, as a filter that reads bytes would miss it. The wall: a trap.
(module
  (memory (export "memory") 1)
  (data (i32.const 64) "\"\c0\af\"")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 24) (i32.const 64))
    (i32.store (i32.const 28) (i32.const 4))
    i32.const 16))
