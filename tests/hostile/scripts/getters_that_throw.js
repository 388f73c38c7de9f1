// Throws from every getter, `toJSON`, `toString` and `valueOf` that the engine or its error reports may run.
// The wall: exceptions are the script's own, and nothing is left half done.
export const meta = { name: 'getters_that_throw', description: 'An attack.' }
const bomb = () => { throw new Error('bomb') }
const hostile = { get text() { return bomb() }, toJSON: bomb, toString: bomb, valueOf: bomb, [Symbol.toPrimitive]: bomb }
let caught = 0
for (const attack of [
  () => tool('quiet.neighbour', hostile), () => tool(hostile, {}), () => agent(hostile), () => agent('x', hostile), () => phase(hostile),
  () => parallel(hostile), () => parallel([hostile]), () => pipeline([1], hostile),
]) { try { await attack() } catch { caught++ } }
log(hostile, new Proxy({}, { get: bomb, ownKeys: bomb, getPrototypeOf: bomb }))
if (caught !== 8) return `${caught} caught`

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
