// Asks for answers of schemas that are endless, remote, catastrophic or no schemas.
// The wall: each is refused or judged within the limits; nothing is fetched.
export const meta = { name: 'schema_bombs', description: 'An attack.' }
const refused = []
for (const schema of [
  { $ref: 'http://evil.example/schema.json' }, { $ref: 'file:///etc/passwd' }, { $schema: 'http://evil.example/x', type: 'object' },
  { type: 'nonsense' }, { $ref: '#' }, { pattern: '^(a+)+$', type: 'string' }, { pattern: '(((a{100}){100}){100}){100}' }, { pattern: '(?<=a{1000})b\\1' }, { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } },
]) {
  try { refused.push(await agent('agent_looks_for_files', { agentType: 'hostile-agent', schema })) } catch (e) { refused.push(e.code) }
}
log(refused)

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
