// Asks for agents that hold more than the run does.
// The wall: each is refused, naming what is missing.
export const meta = { name: 'widen_by_options', description: 'An attack.' }
const refused = []
for (const options of [
  { allow: ['write:.'] }, { allow: ['read:/'] }, { allow: ['read:..'] }, { tools: ['git.*'] }, { allow: ['spawn:1001'] }, { tools: ['*'] },
  { allow: ['read:.', 'read:/etc'] }, { allow: ['tool:*'] }, { tools: ['files.write'] },
]) {
  try { await agent('agent_looks_for_files', { agentType: 'hostile-agent', ...options }); return `got ${JSON.stringify(options)}` } catch (e) { refused.push(e.code) }
}
if (refused.some(code => code !== 'denied' && code !== 'invalid-arguments')) return refused.join()

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
