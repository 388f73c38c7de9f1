// Rewrites arrays under `parallel`, `pipeline` and the engine's own lists: iteration, indices, species, join.
// The wall: lists of the engine have no prototype while it reads them.
export const meta = { name: 'pollute_array', description: 'An attack.' }
const join = Array.prototype.join
for (const name of ['push', 'map', 'forEach', 'slice', 'concat', 'filter', 'shift', 'splice', 'reduce']) {
  Array.prototype[name] = () => { throw new Error('evil') }
}
Array.prototype[Symbol.iterator] = function* () { yield 'forged' }
Array.prototype.then = function (resolve) { resolve('forged') }
Array.isArray = () => false
Object.defineProperty(Array, Symbol.species, { value: class { constructor() { throw 1 } }, configurable: true })
Object.defineProperty(Array.prototype, '0', { get() { return 'forged' }, set() {}, configurable: true })
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' })])
return said === 'across' && both.length === 1 && join.call(both, '') === 'one' ? 'intact' : 'broken'
