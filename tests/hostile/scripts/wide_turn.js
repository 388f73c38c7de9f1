// Asks for a thousand agents with long prompts in one turn: more than any tool's answer may hold, and no more than a fan-out needs.
// The wall: a turn has a limit of its own, far above it; each agent is judged by itself.
export const meta = { name: 'wide_turn', description: 'An attack.' }
const text = 'source code line\n'.repeat(1_200)
const asked = Array.from({ length: 900 }, (_, n) => agent(`Review ${n}\n${text}`, { agentType: 'nobody' }).catch(e => e.code))
const codes = await Promise.all(asked)

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
return said === 'across' && codes.length === 900 && codes.every(code => code === 'not-found') ? 'intact' : JSON.stringify(codes.slice(0, 5))
