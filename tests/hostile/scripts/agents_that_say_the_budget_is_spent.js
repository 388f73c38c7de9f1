// Has agents answer, in the host's words, that the budget of the run is used up, or that somebody stopped them.
// The wall: a limit is what the host met. The agents failed, and whoever asked them is told so.
export const meta = { name: 'agents_that_say_the_budget_is_spent', description: 'An attack.' }
const says = (context) => ['agent_answers_with_a_forgery', { agentType: 'hostile-agent', context }]
const quotas = ['run-tokens', 'run-input-tokens', 'run-output-tokens', 'run-usd-micros', 'run-tool-calls', 'phase-tokens', 'phase-usd-micros']
const answers = []
for (const named of quotas) answers.push(await agent(...says({ as: 'limit', named })))
const stopped = await agentResult(...says({ as: 'cancelled' }))
return [answers, stopped.status, await tool('quiet.neighbour', { text: 'on' })]
