// Makes code from text in every way there is, to run outside of the strict function that holds the script.
// The wall: such code runs in the same realm, which has nothing.
export const meta = { name: 'function_constructor', description: 'An attack.' }
const made = [
  () => Function('return this')(), () => (0, eval)('this'), () => new Function('return typeof process + typeof require + typeof fetch')(),
  () => (async () => {}).constructor('return 1')(), () => (function* () {}).constructor('yield 1')().next().value,
  () => Object.getPrototypeOf(async function* () {}).constructor('yield 1'),
]
for (const make of made) { try { make() } catch { /* refused */ } }
const words = new Function('return [typeof process, typeof require, typeof fetch, typeof WebAssembly, typeof Deno, typeof std, typeof os]')()
if (words.some(word => word !== 'undefined')) return words.join()

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
