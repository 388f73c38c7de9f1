;; Asks for a tool before anybody has given it a task. The wall: trap `null-reference`: while a cell is being built
;; its functions of the host are not there yet.
(module
  (import "vespiary:plugin/dispatch@0.1.0" "call" (func $dispatch (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "files.read") (data (i32.const 272) "{}") (data (i32.const 288) "null")
  (func $early
    (i32.store (i32.const 64) (i32.const 256)) (i32.store (i32.const 68) (i32.const 10))
    (i32.store (i32.const 72) (i32.const 272)) (i32.store (i32.const 76) (i32.const 2))
    (call $dispatch (i32.const 64) (i32.const 1) (i32.const 32)))
  (start $early)
  (global $top (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536)))))))
    (local.get $at))
  (func (export "vespiary:plugin/agent@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/agent@0.1.0#run") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    unreachable))
