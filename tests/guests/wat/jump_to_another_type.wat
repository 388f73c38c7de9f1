;; Calls a function as if it were of another type. The wall: trap `type-mismatch`.
(module
  (memory (export "memory") 1)
  (type $v (func (param i64) (result i64)))
  (func $f)
  (table 2 funcref)
  (elem (i32.const 0) $f)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (drop (call_indirect (type $v) (i64.const 1) (i32.const 0)))
    unreachable))
