;; Imports the network. The wall: unrunnable, naming `wasi:sockets`, before anything runs.
(component
  (import "wasi:sockets/instance-network@0.2.0" (instance
    (export "network" (type (sub resource)))
    (export "instance-network" (func (result (own 0)))))))
