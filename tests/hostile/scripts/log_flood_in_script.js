// Logs without end, a little in each turn, so that no turn is too large.
// The wall: limit `log-bytes` of the whole script.
export const meta = { name: 'log_flood_in_script', description: 'An attack.' }
for (;;) {
  for (let i = 0; i < 100; i++) log('all work and no play '.repeat(700))
  await tool('quiet.neighbour', { text: '' })
}
