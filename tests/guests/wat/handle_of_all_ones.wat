;; Finishes the writer of the greatest handle that there can be. The wall: a trap.
(module
  (import "vespiary:plugin/report@0.1.0" "[static]artifact-writer.finish" (func $finish (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (call $finish (i32.const -1) (i32.const 512))
    unreachable))
