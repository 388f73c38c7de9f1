;; Grows a table until it cannot, then dies. The wall: limit `table-elements`.
(module
  (memory (export "memory") 1)
  (table $t 1 funcref)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (loop $again
      (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    unreachable))
