// Rewrites everything that `await` and `agent()` might look up on promises, to see or forge what comes back.
// The wall: what matters cannot be rewritten, and what can be is not used.
export const meta = { name: 'pollute_promise', description: 'An attack.' }
const tries = [
  () => { Promise.prototype.then = () => 'forged' },
  () => { Object.defineProperty(Promise.prototype, 'then', { value: () => 'forged' }) },
  () => { Object.defineProperty(Promise.prototype, 'constructor', { value: class {} }) },
  () => { Object.defineProperty(Promise, Symbol.species, { value: class {} }) },
  () => { Promise.resolve = Promise.all = Promise.reject = () => 'forged' },
  () => { Promise.prototype.catch = Promise.prototype.finally = () => 'forged' },
  () => { globalThis.Promise = class { constructor() { throw 1 } then() { return 'forged' } } },
  () => { Object.setPrototypeOf(Promise.prototype, { then() { return 'forged' } }) },
]
for (const one of tries) { try { one() } catch { /* refused */ } }

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
