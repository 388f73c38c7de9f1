;; Gives another place each time the host asks for room, the last one past the end. The wall: a trap.
(module
  (memory (export "memory") 1)
  (global $at (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $at) (global.set $at (i32.const 65535)))
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    unreachable))
