;; Imports outgoing HTTP. The wall: unrunnable, naming `wasi:http`, before anything runs.
(component
  (import "wasi:http/outgoing-handler@0.2.0" (instance
    (export "handle" (func (param "url" string) (result string))))))
