// Enters phases without end.
// The wall: a limit.
export const meta = { name: 'phase_flood', description: 'An attack.' }
for (let n = 0; ; n++) {
  for (let i = 0; i < 100; i++) phase(`${n}.${i} ` + 'p'.repeat(10000))
  await tool('quiet.neighbour', { text: '' })
}
