;; Gives the host an odd place for a list of answers. The wall: a trap.
(module
  (import "vespiary:plugin/dispatch@0.1.0" "call" (func $dispatch (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "files.read") (data (i32.const 272) "{}") (data (i32.const 288) "null")
  (global $n (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    ;; Room for the task first; what comes after it is for the answers.
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    (select (i32.const 8192) (i32.const 8193) (i32.lt_u (global.get $n) (i32.const 3))))
  (func (export "vespiary:plugin/agent@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/agent@0.1.0#run") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 64) (i32.const 256)) (i32.store (i32.const 68) (i32.const 10))
    (i32.store (i32.const 72) (i32.const 272)) (i32.store (i32.const 76) (i32.const 2))
    (call $dispatch (i32.const 64) (i32.const 1) (i32.const 32))
    unreachable))
