// Puts getters and setters on `Object.prototype` under every name that an engine in JavaScript might look up.
// The wall: what the engine looks up has no prototype.
export const meta = { name: 'pollute_object', description: 'An attack.' }
const seen = []
for (const name of ['get', 'set', 'value', 'writable', 'id', 'kind', 'resolve', 'reject', 'code', 'message', 'detail', 'then', 'toJSON', 'label', 'phase', 'agentType', 'schema', 'tools', 'allow', 'context']) {
  Object.defineProperty(Object.prototype, name, { __proto__: null, get() { seen.push(name); return undefined }, set() { seen.push(name) }, configurable: true })
}
let said
try { said = await tool('quiet.neighbour', { text: 'across' }) } finally {
  for (const name of ['get', 'set', 'value', 'writable', 'id', 'kind', 'resolve', 'reject', 'code', 'message', 'detail', 'then', 'toJSON', 'label', 'phase', 'agentType', 'schema', 'tools', 'allow', 'context']) delete Object.prototype[name]
}
return said === 'across' ? 'intact' : 'broken'
