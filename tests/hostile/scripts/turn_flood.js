// Asks for more in one turn than the border carries.
// The wall: the quota that ends it is the turn's, by its true name and limit.
export const meta = { name: 'turn_flood', description: 'An attack.' }
const big = 'x'.repeat(1 << 20)
await Promise.all(Array.from({ length: 60 }, (_, n) => agent(big + n, { agentType: 'nobody' }).catch(() => null)))
return 'the turn was carried'
