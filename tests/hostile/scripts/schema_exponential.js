// Asks for an answer of a schema that is short to write and endless to judge: each level names the next one twice.
// The wall: it is refused before an agent is spent on it, or judged within a moment; the host does not sit over it.
export const meta = { name: 'schema_exponential', description: 'An attack.' }
const doubling = (levels, last) => {
  const $defs = { [`a${levels}`]: last }
  for (let i = 0; i < levels; i++) $defs[`a${i}`] = { allOf: [{ $ref: `#/$defs/a${i + 1}` }, { $ref: `#/$defs/a${i + 1}` }] }
  return { $ref: '#/$defs/a0', $defs }
}
const told = []
for (const schema of [doubling(40, { type: 'array' }), doubling(40, { type: 'object' }), { anyOf: [doubling(40, { type: 'string' })] }]) {
  try { await agent('agent_looks_for_files', { agentType: 'hostile-agent', schema }); told.push('judged') } catch (e) { told.push(e.code) }
}
log(told)
// The bridge still works: a request leaves, and its own answer comes back.
return await tool('quiet.neighbour', { text: 'across' }) === 'across' ? 'intact' : 'broken'
