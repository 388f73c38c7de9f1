;; Hands over a clock's alarm where an artifact's writer is wanted. The wall: a trap.
(module
  (import "vespiary:plugin/report@0.1.0" "[method]artifact-writer.write" (func $write (param i32 i32 i32 i32)))
  (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $alarm (param i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "a.txt") (data (i32.const 272) "text/plain") (data (i32.const 288) "null")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (call $write (call $alarm (i64.const 0)) (i32.const 256) (i32.const 1) (i32.const 512))
    unreachable))
