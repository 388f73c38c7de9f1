;; Declares a memory of 4 GiB from the start. The wall: limit `memory-bytes`, or unrunnable; never an allocation.
(module
  (memory (export "memory") 65536)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32) unreachable))
