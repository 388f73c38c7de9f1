// Rewrites maps, where an engine would keep who waits for what, to steal the functions that settle promises.
// The wall: the engine's map is asked by functions that nobody can rewrite.
export const meta = { name: 'pollute_map', description: 'An attack.' }
const stolen = []
for (const name of ['get', 'set', 'delete', 'has', 'forEach']) {
  const real = Map.prototype[name]
  Map.prototype[name] = function (...a) { stolen.push([name, a]); return real.apply(this, a) }
  WeakMap.prototype[name] = Map.prototype[name]
  Set.prototype[name] = Map.prototype[name]
}
globalThis.Map = class { get() { return 'forged' } set() {} delete() {} }
const said = await tool('quiet.neighbour', { text: 'across' })
return said === 'across' && stolen.length === 0 ? 'intact' : 'broken'
