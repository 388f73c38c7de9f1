;; Has the host put name and arguments on address 0, which is a place like any other. Nothing is refused: the guest only
;; overwrites itself, and answers with what it got.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
  (func (export "vespiary:plugin/tools@0.1.0#describe") (result i32) unreachable)
  (func (export "vespiary:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 4096) (i32.const 0))
    (i32.store (i32.const 4104) (local.get 2))
    (i32.store (i32.const 4108) (local.get 3))
    i32.const 4096))
