;; Asks for memory for ever, though it is refused each time. The wall: limit `cpu-time-ms`.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (loop $again (drop (memory.grow (i32.const 1))) (br $again))
    unreachable))
