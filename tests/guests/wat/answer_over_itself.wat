;; Answers with a string that lies over the very record that names it. The wall: the bytes are no JSON, so trap `contract`.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 24) (i32.const 16))
    (i32.store (i32.const 28) (i32.const 12))
    i32.const 16))
