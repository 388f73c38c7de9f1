// Hides a schema with a name of its own in a schema: what is reckoned is harmless, and what a validator would enter doubles without end.
// The wall: only the whole has a name, so both follow the same references; it is refused before an agent is spent on it.
export const meta = { name: 'schema_of_its_own', description: 'An attack.' }
const bomb = (name, draft, where) => {
  const levels = 40, inner = {}, outer = {}
  for (let n = 0; n < levels; n++) inner[`a${n}`] = { anyOf: [{ $ref: `#/${where}/a${n + 1}` }, { $ref: `#/${where}/a${n + 1}` }] }
  inner[`a${levels}`] = { type: 'string' }
  for (let n = 0; n <= levels; n++) outer[`a${n}`] = {}
  const own = { [name]: 'http://v.example/s', [where]: inner, allOf: [{ $ref: `#/${where}/a0` }] }
  return { ...draft, allOf: [{ $ref: `#/${where}/s/allOf/0` }], [where]: { ...outer, s: own } }
}
const told = []
for (const schema of [
  bomb('$id', {}, '$defs'),
  bomb('$id', { $schema: 'http://json-schema.org/draft-07/schema#' }, 'definitions'),
  bomb('id', { $schema: 'http://json-schema.org/draft-04/schema#' }, 'definitions'),
]) {
  try { await agent('agent_looks_for_files', { agentType: 'hostile-agent', schema }); told.push('judged') } catch (e) { told.push(e.code ?? e.name) }
}

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
return said === 'across' && !told.includes('judged') ? 'intact' : JSON.stringify([said, told])
