// Computes for ever.
// The wall: limit `cpu-time-ms`.
export const meta = { name: 'endless_loop_in_script', description: 'An attack.' }
for (;;);
