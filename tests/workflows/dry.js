export const meta = {
  name: 'until-dry',
  description: 'Finders run in rounds until two rounds in a row find nothing new, or the budget is nearly spent',
}

const BUGS = {
  type: 'object',
  required: ['bugs'],
  properties: { bugs: { type: 'array', maxItems: 3, items: { enum: ['overflow', 'leak', 'race', 'typo'] } } },
}
const seen = new Set()
let dry = 0
let round = 0
while (dry < 2 && round < 12 && budget.remaining() > 4_000) {
  round++
  const found = await parallel(Array.from({ length: 3 }, (_, i) => () =>
    agent(`Round ${round}, finder ${i}: find bugs`, { schema: BUGS, label: `finder ${round}.${i}` })))
  const fresh = found.filter(Boolean).flatMap(f => f.bugs).filter(bug => !seen.has(bug))
  for (const bug of fresh) seen.add(bug)
  dry = fresh.length === 0 ? dry + 1 : 0
  log(`round ${round}: ${fresh.length} new, ${budget.spent()} tokens spent`)
}
return { bugs: [...seen].sort(), rounds: round, spent: budget.spent(), total: budget.total }
