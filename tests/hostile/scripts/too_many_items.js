// Gives `parallel` and `pipeline` one item more than they take.
// The wall: a RangeError before anything is started.
export const meta = { name: 'too_many_items', description: 'An attack.' }
for (const attack of [() => parallel(Array(4097).fill(() => agent('x', { agentType: 'hostile-agent' }))), () => pipeline(Array(4097).fill(1), x => agent('x', { agentType: 'hostile-agent' }))]) {
  try { await attack(); return 'took them' } catch (e) { if (e.name !== 'RangeError') return String(e) }
}

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
