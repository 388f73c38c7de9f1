// Looks for the functions that settle promises, by stack, by `caller`, by `arguments`, by the global object's names.
// The wall: nothing of the engine can be reached.
export const meta = { name: 'forged_completions', description: 'An attack.' }
const found = []
for (const name of Object.getOwnPropertyNames(globalThis)) {
  if (/emit|settle|resolve|reject|host|bridge|engine|outbox|prelude|complet/i.test(name)) found.push(name)
}
Error.prepareStackTrace = (_, sites) => { for (const site of sites) found.push(site.getFunction?.(), site.getThis?.()); return '' }
const probe = () => { for (const f of [agent, tool, log]) { try { f.caller && found.push(f.caller) } catch {} try { f.arguments && found.push(f.arguments) } catch {} } }
const spy = new Proxy({}, { ownKeys() { probe(); void new Error('x').stack; return [] } })
const pending = tool('quiet.neighbour', { text: 'across', ...spy })
for (const key of Reflect.ownKeys(pending)) found.push(key)
const said = await pending
return said === 'across' && found.filter(Boolean).length === 0 ? 'intact' : JSON.stringify(found)
