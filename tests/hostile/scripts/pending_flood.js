// Leaves megabytes waiting in the host, turn after turn: agents that wait for one that never comes.
// The wall: what is asked for and not answered is counted over the whole run; past that each call throws.
export const meta = { name: 'pending_flood', description: 'An attack.' }
const big = 'x'.repeat(8 << 20)
const codes = {}
for (let n = 0; n < 48; n++) {
  agent(big, { agentType: 'hostile-agent', deps: ['late'] }).catch(e => { codes[e.code] = (codes[e.code] ?? 0) + 1 })
  try { await agent('x', { agentType: 'nobody' }) } catch {}
}

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
return said === 'across' && codes.limit >= 8 && codes.limit < 48 ? 'intact' : JSON.stringify([said, codes])
