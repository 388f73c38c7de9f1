// Waits for a promise that nobody will settle.
// The wall: the script is told that it stalls; nothing waits with it.
export const meta = { name: 'waits_for_nothing', description: 'An attack.' }
await new Promise(() => {})
