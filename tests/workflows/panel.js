export const meta = {
  name: 'design-panel',
  description: 'Draft several designs independently, have a panel judge them, build on the winner',
  phases: [{ title: 'Draft' }, { title: 'Judge' }, { title: 'Synthesize', model: 'large' }],
}

phase('Draft')
const ANGLES = ['MVP-first', 'risk-first', 'user-first']
const drafts = (await parallel(ANGLES.map(angle => () => agent(`Design a cache, ${angle}`, { label: angle })))).filter(Boolean)

phase('Judge')
const verdict = await judge(drafts, { criteria: 'simplicity, then speed', judges: 3 })

phase('Synthesize')
const winner = drafts[verdict.winner]
const text = await agent(`Improve this design with the best of the others: ${winner}`, { model: 'large' })
return { drafts: drafts.length, judges: verdict.judges, ranking: verdict.ranking.map(r => r.index), text }
