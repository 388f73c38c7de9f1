// Gives agents labels and phases of a quarter of a megabyte, those that are refused too.
// The wall: what is recorded and kept of a label has a length, and labels are still told apart by all of it.
export const meta = { name: 'long_labels', description: 'An attack.' }
const big = 'x'.repeat(1 << 18)
for (let n = 0; n < 50; n++) await agent('x', { agentType: 'nobody', label: big + n }).catch(() => null)
const [first, second] = await Promise.all([
  agentResult('agent_looks_for_files', { agentType: 'hostile-agent', label: `${big}a`, phase: big }),
  agentResult('agent_looks_for_files', { agentType: 'hostile-agent', deps: [`${big}a`] }),
])
const late = await agentResult('agent_looks_for_files', { agentType: 'hostile-agent', deps: [`${big}0`] })

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const told = [first.status, second.status, late.status, late.message.length < 8_192]
return said === 'across' && told.join() === 'ok,ok,failed,true' ? 'intact' : JSON.stringify([said, told])
