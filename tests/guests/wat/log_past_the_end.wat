;; Logs a string that begins outside its memory. The wall: a trap.
(module
  (import "vespiary:plugin/report@0.1.0" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 0x7fffffff) (i32.const 4))
    unreachable))
