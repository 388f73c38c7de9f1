// Hands over options that are proxies: other answers at each look, properties without end, traps that call back.
// The wall: they are read once, as JSON, and judged as read.
export const meta = { name: 'proxy_options', description: 'An attack.' }
let looks = 0
const shifting = new Proxy({}, {
  ownKeys: () => ['text'],
  getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true, value: 'x' }),
  get: (_, key) => key === 'text' ? `look ${++looks}` : undefined,
})
const read = await tool('quiet.neighbour', shifting)
if (read !== 'look 1' || looks !== 1) return `${read} after ${looks}`
const endless = new Proxy([], { get: (t, key) => key === 'length' ? 2 ** 53 - 1 : t[key] })
try { parallel(endless); return 'took an endless list' } catch (e) { if (e.name !== 'RangeError') return e.message }
const revoked = Proxy.revocable({}, {}); revoked.revoke()
try { await tool('quiet.neighbour', revoked.proxy); return 'took a revoked proxy' } catch { /* an exception is right */ }

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
