export const meta = {
  name: 'verified-report',
  description: 'A report of which every claim was voted on, and nothing unverified is said as a fact',
}

const claims = args.claims
const checked = await verify(claims, { voters: 3, agent: { retry: { attempts: 3 } } })
const merged = merge(checked.map(c => ({ [c.claim]: c.verdict })), 'deep')
const last = await agentResult('Say what is left', { priority: 'low', quota: { outputTokens: 1_000 } })
return { verdicts: merged.value, last: last.status, batches: batch(claims, 2).length }
