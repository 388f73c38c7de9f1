;; Declares ninety memories of one MiB beside its own, each below the limit on memory. The wall: limit `memory-bytes`, or
;; unrunnable; the limit counts all memories of a cell together.
(module
  (memory (export "memory") 1)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16) (memory 16)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32) unreachable))
