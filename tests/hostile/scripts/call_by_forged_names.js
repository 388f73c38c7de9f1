// Calls tools under names of other alphabets, with blanks and dots, and the engine itself.
// The wall: each is refused; none is taken for the tool it looks like.
export const meta = { name: 'call_by_forged_names', description: 'An attack.' }
for (const name of ['quiet.neighbour ', 'quiet.ne\u0456ghbour', 'quiet\u2024neighbour', 'Quiet.neighbour', 'quiet..neighbour', '.quiet.neighbour', 'quiet.neighbour\0', 'engine.run', 'engine.check', '../quiet.neighbour', 'quiet.*', '*.*', 'quiet.neighbour.', 'a.'.repeat(1e6)]) {
  try { await tool(name, { text: 'x' }); return `took ${name}` } catch (e) { if (!(e instanceof TypeError || typeof e.code === 'string') || e.message.length > 2000) return `${name}: ${e.message.length} ${e}` }
}

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
