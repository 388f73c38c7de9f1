;; Asks for the host's answer at an odd place. The wall: a trap.
(module
  (import "vespiary:plugin/report@0.1.0" "[static]artifact-writer.create" (func $create (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "a.txt") (data (i32.const 272) "text/plain") (data (i32.const 288) "null")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (call $create (i32.const 256) (i32.const 5) (i32.const 272) (i32.const 10) (i32.const 513))
    unreachable))
