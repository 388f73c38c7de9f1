// Looks for clocks, chance, shared memory, weak references, threads and hosts.
// The wall: they are absent, or throw.
export const meta = { name: 'what_must_be_absent', description: 'An attack.' }
const absent = ['Atomics', 'SharedArrayBuffer', 'WeakRef', 'FinalizationRegistry', 'performance', 'crypto', 'navigator', 'gc', 'process', 'require', 'module',
  'fetch', 'XMLHttpRequest', 'WebSocket', 'setTimeout', 'setInterval', 'setImmediate', 'WebAssembly', 'Worker', 'std', 'os', 'bjson', 'scriptArgs', 'print', 'load', 'Deno', 'Bun']
const found = absent.filter(name => name in globalThis)
for (const [name, ask] of [['Date.now', () => Date.now()], ['new Date', () => new Date()], ['Date()', () => Date()], ['Math.random', () => Math.random()],
  ['Reflect Date', () => Reflect.construct(Date, [])], ['Date subclass', () => new (class extends Date {})()], ['constructor', () => new (new Date(0).constructor)()]]) {
  try { ask(); found.push(name) } catch { /* as it should be */ }
}
if (found.length > 0) return found.join()

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
