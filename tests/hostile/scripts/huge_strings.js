// Doubles strings, arrays and buffers until there is no memory.
// The wall: exceptions that the script can catch; what it let go of is free again.
export const meta = { name: 'huge_strings', description: 'An attack.' }
let caught = 0
for (const attack of [
  () => { let s = 'x'; for (;;) s += s },
  () => 'x'.repeat(2 ** 30),
  () => 'x'.padEnd(2 ** 31 - 1),
  () => new ArrayBuffer(2 ** 40),
  () => new Uint8Array(2 ** 31),
  () => { const a = []; for (;;) a.push(new Array(1000).fill(a.length)) },
]) { try { attack() } catch { caught++ } }
if (caught !== 6) return `${caught} caught`

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
