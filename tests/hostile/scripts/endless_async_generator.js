// Waits for the end of a generator that has none.
// The wall: limit `cpu-time-ms`.
export const meta = { name: 'endless_async_generator', description: 'An attack.' }
async function* forever() { for (;;) yield null }
for await (const _ of forever());
