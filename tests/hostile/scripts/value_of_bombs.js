// Passes objects whose `valueOf` and `toString` grow strings without end, where a number or a text is wanted.
// The wall: nothing is converted; each is refused for what it is.
export const meta = { name: 'value_of_bombs', description: 'An attack.' }
const bomb = { toString: () => 'x'.repeat(1 << 28), valueOf: () => { for (;;); }, [Symbol.toPrimitive]: () => { for (;;); } }
for (const attack of [() => agent(bomb), () => tool(bomb), () => phase(bomb), () => pipeline(bomb), () => parallel(bomb)]) {
  try { attack(); return 'converted' } catch (e) { if (!(e instanceof TypeError)) return String(e) }
}

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
