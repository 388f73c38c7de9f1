// Leaves the script through generators: one that never ends, one whose `return` throws, one that is entered while it runs.
// The wall: exceptions of the script's own.
export const meta = { name: 'generator_escapes', description: 'An attack.' }
function* again() { yield* self }
const self = again()
try { self.next(); return 'entered itself' } catch (e) { if (!(e instanceof TypeError)) return String(e) }
function* stubborn() { try { yield 1 } finally { throw new Error('will not go') } }
try { for (const _ of stubborn()) break } catch { /* as it said */ }
async function* forever() { for (;;) yield 1 }
let seen = 0
for await (const _ of forever()) { if (++seen === 1000) break }

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
