// Calls itself without end, plainly, through getters, proxies, JSON and regular expressions.
// The wall: a RangeError that the script can catch, each time.
export const meta = { name: 'recursion_without_end', description: 'An attack.' }
const down = () => 1 + down()
const nested = () => { let s = '['.repeat(100000); return JSON.parse(s) }
const proxied = new Proxy({}, { get: (t, k, r) => r[k] })
const own = { get self() { return this.self } }
const circular = []; circular[0] = circular
const text = { toString() { return `${this}` } }
let caught = 0
for (const attack of [down, nested, () => proxied.x, () => own.self, () => JSON.stringify({ toJSON() { return JSON.stringify(this) } }), () => `${text}`, () => JSON.stringify(circular), () => circular.flat(Infinity)]) {
  try { attack() } catch { caught++ }
}
if (caught !== 8) return `${caught} caught`

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
