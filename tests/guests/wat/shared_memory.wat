;; Declares a memory that threads share. The wall: unrunnable: there are no threads in a cell.
(module
  (memory (export "memory") 1 2 shared)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    unreachable))
