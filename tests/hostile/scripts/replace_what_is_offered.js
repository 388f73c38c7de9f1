// Replaces, deletes and decorates `agent`, `tool`, `log` and the rest.
// The wall: none of them can be changed.
export const meta = { name: 'replace_what_is_offered', description: 'An attack.' }
for (const name of ['agent', 'tool', 'workflow', 'gate', 'parallel', 'pipeline', 'phase', 'log', 'console']) {
  for (const attack of [
    () => { globalThis[name] = () => 'forged' },
    () => { delete globalThis[name] },
    () => { Object.defineProperty(globalThis, name, { value: 1 }) },
    () => { globalThis[name].extra = 1 },
    () => { Object.setPrototypeOf(globalThis[name], null) },
  ]) {
    try { attack() } catch { continue }
    if (typeof globalThis[name] !== (name === 'console' ? 'object' : 'function') || globalThis[name].extra) return name
  }
}

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
