;; Reports progress with an option that is neither there nor absent. The wall: a trap.
(module
  (import "vespiary:plugin/report@0.1.0" "progress" (func $progress (param i64 i32 i64 i32 i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (call $progress (i64.const 0) (i32.const 2) (i64.const 0) (i32.const 0) (i32.const 0))
    unreachable))
