export const meta = {
  name: 'scout-then-fleet',
  description: 'One scout lists the work, a fleet does it, a critic says what is missing',
  whenToUse: 'When the work list is not known in advance',
  phases: [{ title: 'Scout' }, { title: 'Work' }, { title: 'Critique' }],
}

const LIST = {
  type: 'object',
  required: ['items'],
  properties: { items: { type: 'array', minItems: 3, maxItems: 6, items: { type: 'string', minLength: 3 } } },
}

phase('Scout')
const scouted = await agent('List the modules that still use the old client', { schema: LIST, label: 'scout' })
if (!scouted) return { done: [], why: 'the scout found nothing' }

phase('Work')
const done = await parallel(scouted.items.map((item, i) => () => agent(`Plan the migration of ${item} (${i})`, { label: item })))

phase('Critique')
const missing = await agent(`What did these plans miss?\n${done.filter(Boolean).join('\n')}`, { schema: LIST })
return { planned: done.filter(Boolean).length, of: scouted.items.length, missing: missing?.items ?? [] }
