// Rewrites `call`, `apply`, `bind` and `instanceof`, with which one function reaches another's insides.
// The wall: the engine took its own before the script came.
export const meta = { name: 'pollute_function', description: 'An attack.' }
const seen = []
Function.prototype.call = function (...a) { seen.push(a); return 'forged' }
Function.prototype.apply = function (...a) { seen.push(a); return 'forged' }
Function.prototype.bind = function (...a) { seen.push(a); return () => 'forged' }
try { Object.defineProperty(Function.prototype, Symbol.hasInstance, { value: () => true }) } catch { /* fixed by the language */ }
Reflect.construct = Reflect.apply = Reflect.get = (...a) => { seen.push(a); return 'forged' }
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' })])
return said === 'across' && both[0] === 'one' && seen.length === 0 ? 'intact' : 'broken'
