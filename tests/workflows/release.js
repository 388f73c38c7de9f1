export const meta = {
  name: 'release-readiness',
  description: 'Run the saved checks as parts of one run, then write up what stands between here and a release',
  phases: [{ title: 'Checks' }, { title: 'Summary' }],
  whenToUse: 'Before tagging a release',
}

const NOTES = {
  type: 'object',
  required: ['summary', 'blockers'],
  properties: { summary: { type: 'string' }, blockers: { type: 'array', maxItems: 5, items: { type: 'string' } } },
}

phase('Checks')
const areas = args?.areas ?? ['api', 'storage', 'docs']
const checked = await parallel(areas.map(area => () => workflow('check-area', { area, depth: 'quick' })))
const done = checked.filter(Boolean)
log(`${done.length} of ${areas.length} areas were checked`)

phase('Summary')
const notes = await agent(`Summarise for a release manager:\n${JSON.stringify(done)}`, { schema: NOTES, label: 'summary' })
return { areas: done.map(d => d.area), questions: done.reduce((n, d) => n + d.answers, 0), notes }
