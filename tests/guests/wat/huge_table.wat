;; Declares a table of four billion elements. The wall: unrunnable, or limit `table-elements`; never an allocation.
(module
  (memory (export "memory") 1)
  (table 4000000000 funcref)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    unreachable))
