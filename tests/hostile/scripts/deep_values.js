// Sends and returns values that are nested without end.
// The wall: exceptions; the record holds what was sent.
export const meta = { name: 'deep_values', description: 'An attack.' }
let deep = []
for (let i = 0; i < 50000; i++) deep = [deep]
let caught = 0
for (const attack of [() => tool('quiet.neighbour', { text: deep }), () => agent('x', { agentType: 'hostile-agent', context: deep }), () => agent('x', { agentType: 'hostile-agent', schema: { items: deep } })]) {
  try { await attack() } catch { caught++ }
}
if (caught !== 3) return `${caught} caught`

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
