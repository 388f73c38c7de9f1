// Starts a million agents at once.
// The wall: a limit ends the script, or all past the cap are refused; nobody waits for a million.
export const meta = { name: 'agent_flood', description: 'An attack.' }
let refused = 0, started = 0
const all = []
for (let i = 0; i < 1_000_000; i++) all.push(agent('agent_looks_for_files', { agentType: 'hostile-agent' }).then(() => started++, () => refused++))
await Promise.all(all)
return [started, refused]
