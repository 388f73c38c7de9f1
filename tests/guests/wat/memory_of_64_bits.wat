;; Declares a memory with 64-bit addresses, of sixteen exbibytes. The wall: unrunnable, or a limit; never an allocation.
(module
  (memory (export "memory") 1)
  (memory $big i64 0x1000000000000)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    unreachable))
