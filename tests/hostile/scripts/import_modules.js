// Imports modules, by every spelling of a name.
// The wall: there are none; each import is an exception.
export const meta = { name: 'import_modules', description: 'An attack.' }
for (const name of ['fs', 'node:fs', 'std', 'os', 'qjs:os', 'qjs:std', './secret.txt', '/etc/passwd', 'file:///etc/passwd', 'data:text/javascript,export default 1', 'engine', 'workflow.js', '', '\0']) {
  try { await import(name); return `imported ${name}` } catch (e) { if (!(e instanceof TypeError)) return String(e) }
}

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
