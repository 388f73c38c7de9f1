// Sorts with comparators that change, shorten and freeze what is being sorted, and that throw half-way.
// The wall: the engine's memory is sound whatever they do.
export const meta = { name: 'sort_that_changes_its_array', description: 'An attack.' }
const many = Array.from({ length: 200 }, (_, i) => (i * 7919) % 2003)
for (const attack of [
  (list) => list.sort((a, b) => { list.length = 0; return a - b }),
  (list) => list.sort((a, b) => { list.push(1); return b - a }),
  (list) => list.sort((a, b) => { if (list.length > 10) list.splice(0, 5); return a - b }),
  (list) => list.sort(() => { throw new Error('half-way') }),
  (list) => list.sort(() => NaN),
  (list) => { const seen = new Uint8Array(64); return list.sort((a, b) => { seen.sort(() => list.pop()); return a - b }) },
  (list) => Object.freeze(list).sort((a, b) => a - b),
]) { try { attack([...many]) } catch { /* its own */ } }
const bytes = new ArrayBuffer(64, { maxByteLength: 4096 })
const view = new Uint8Array(bytes)
try { view.sort((a, b) => { bytes.resize(0); return a - b }) } catch { /* its own */ }
try { view.map(() => { bytes.resize(4096); return 1 }); view.fill({ valueOf() { bytes.resize(1); return 7 } }) } catch { /* its own */ }

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
