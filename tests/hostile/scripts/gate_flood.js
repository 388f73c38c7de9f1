// Opens gates without number, huge ones, deep ones, and ones that are no gates.
// The wall: so many open at once, so many in a run, so long a payload; the rest throws.
export const meta = { name: 'gate_flood', description: 'An attack.' }
const codes = {}
const count = async options => {
  try { await gate(options) } catch (e) { codes[e.code ?? e.name] = (codes[e.code ?? e.name] ?? 0) + 1 }
}
for (let n = 0; n < 5_000; n++) count({ title: 'Go?', payload: n })
count({ title: 'x'.repeat(1 << 20) })
count({ title: 'Go?', payload: 'x'.repeat(4 << 20) })
count({ title: 'Go?', payload: JSON.parse('['.repeat(90) + ']'.repeat(90)) })
for (const odd of [{}, { title: '' }, { title: 'Go?', approved: true }, { title: 'Go?', check: { program: '/bin/sh\u0000' } }]) count(odd)

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const refused = codes.limit ?? 0
return said === 'across' && refused === 5_000 - 32 + 2 && codes['invalid-arguments'] >= 2 ? 'intact' : JSON.stringify([said, codes])
