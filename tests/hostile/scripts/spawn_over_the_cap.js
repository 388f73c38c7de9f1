// Starts more agents than the run may, in turns, catching each refusal.
// The wall: exactly the cap is started; the others are refused with limit `agents`.
export const meta = { name: 'spawn_over_the_cap', description: 'An attack.' }
let started = 0, refused = 0
for (let turn = 0; turn < 12; turn++) {
  await parallel(Array.from({ length: 100 }, () => async () => {
    try { await agent('agent_looks_for_files', { agentType: 'hostile-agent' }); started++ } catch (e) { if (e.code === 'limit') refused++ }
  }))
}
return [started, refused]
