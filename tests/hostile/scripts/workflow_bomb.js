// A workflow that calls itself, many times over, from every depth it can reach.
// The wall: one level deep; each call is one of the run's, and is counted.
export const meta = { name: 'workflow_bomb', description: 'An attack.' }
const said = await Promise.allSettled(Array.from({ length: 20 }, () => workflow('workflow_bomb', { again: true })))
if (args.again) return said.every(s => s.status === 'rejected' && s.reason.code === 'nested') ? 'stopped' : 'deeper'
const refused = ['../workflow_bomb', '/etc/passwd', 'x'.repeat(1 << 20), '__proto__', '\u0000'].map(async name => {
  try { await workflow(name); return 'found' } catch (e) { return e.code }
})
if ((await Promise.all(refused)).some(code => code !== 'not-found')) return 'a name led somewhere'

// The bridge still works: a request leaves, and its own answer comes back.
const across = await tool('quiet.neighbour', { text: 'across' })
return across === 'across' && said.every(s => s.value === 'stopped') ? 'intact' : JSON.stringify(said)
