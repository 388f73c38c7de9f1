// Queues microtasks without end, so that the script is never waiting and never done.
// The wall: limit `cpu-time-ms`.
export const meta = { name: 'endless_microtasks', description: 'An attack.' }
const spin = () => Promise.resolve().then(spin)
await spin()
