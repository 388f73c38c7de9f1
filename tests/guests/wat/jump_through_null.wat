;; Calls through a table where there is nothing, and through one place of another type. The wall: trap `null-reference`.
(module
  (memory (export "memory") 1)
  (type $v (func))
  (table 2 funcref)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (call_indirect (type $v) (i32.const 1))
    unreachable))
