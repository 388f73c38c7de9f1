// Takes memory until there is none, and holds on to it while it asks the engine to answer for it.
// The wall: the script's own exception, or the cell's limit.
export const meta = { name: 'memory_bomb', description: 'An attack.' }
const held = []
for (;;) held.push(new Uint8Array(1 << 20).fill(1))
