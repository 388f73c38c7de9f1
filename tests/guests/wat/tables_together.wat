;; Grows four tables, each within the limit for one. The wall: limit `table-elements`, which counts them together.
(module
  (memory (export "memory") 1)
  (table $a 1 funcref) (table $b 1 funcref) (table $c 1 funcref) (table $d 1 funcref)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (drop (table.grow $a (ref.null func) (i32.const 6000)))
    (drop (table.grow $b (ref.null func) (i32.const 6000)))
    (drop (table.grow $c (ref.null func) (i32.const 6000)))
    (drop (table.grow $d (ref.null func) (i32.const 6000)))
    unreachable))
