// Names permissions without number: each is compared with all others, in the host.
// The wall: a list has a length; past it the call throws.
export const meta = { name: 'list_flood', description: 'An attack.' }
const list = (word, many) => Array.from({ length: many }, (_, n) => `${word}${n}`)
const codes = []
for (const options of [
  { allow: list('read:a', 100_000), deny: list('read:b', 100_000) },
  { deny: list('read:b', 100_000) },
  { tools: list('quiet.t', 100_000) },
]) {
  try { await agent('x', { agentType: 'hostile-agent', ...options }); codes.push('started') } catch (e) { codes.push(e.code) }
}

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
return said === 'across' && codes.every(code => code === 'limit') ? 'intact' : JSON.stringify([said, codes])
