// Has the host compile patterns without number: many in a schema, and many schemas.
// The wall: so many patterns in a schema, so many in a run; the rest throws.
export const meta = { name: 'pattern_flood', description: 'An attack.' }
const schema = (from, many) => {
  const properties = {}
  for (let n = 0; n < many; n++) properties[`p${n}`] = { pattern: `^a${from + n}$` }
  return { properties }
}
const codes = {}
const ask = async options => {
  try { await agent('x', { agentType: 'nobody', ...options }) } catch (e) { codes[e.code] = (codes[e.code] ?? 0) + 1 }
}
await ask({ schema: schema(0, 2_000) })
for (let n = 0; n < 200; n++) await ask({ schema: schema(n * 64, 64) })

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
return said === 'across' && codes['invalid-arguments'] === 1 && codes['not-found'] === 128 && codes.limit === 72 ? 'intact' : JSON.stringify([said, codes])
