export const meta = {
  name: 'review-changes',
  description: 'Review changed files across dimensions, verify each finding adversarially',
  phases: [{ title: 'Review' }, { title: 'Verify' }],
}

const DIMENSIONS = [
  { key: 'bugs', prompt: 'Find correctness bugs in the changes' },
  { key: 'security', prompt: 'Find security problems in the changes' },
  { key: 'performance', prompt: 'Find performance regressions in the changes' },
]
const FINDINGS = {
  type: 'object',
  required: ['findings'],
  properties: {
    findings: {
      type: 'array',
      minItems: 1,
      maxItems: 4,
      items: {
        type: 'object',
        required: ['title', 'file', 'line'],
        properties: { title: { type: 'string' }, file: { type: 'string' }, line: { type: 'integer', minimum: 1 } },
      },
    },
  },
}
const VERDICT = {
  type: 'object',
  required: ['isReal', 'reason'],
  properties: { isReal: { type: 'boolean' }, reason: { type: 'string' } },
}

const results = await pipeline(
  DIMENSIONS,
  d => agent(d.prompt, { label: `review:${d.key}`, phase: 'Review', schema: FINDINGS }),
  (review, d) => parallel(review.findings.map(f => () =>
    agent(`Adversarially verify: ${d.key}: ${f.title} in ${f.file}:${f.line}`, {
      label: `verify:${f.title}`, phase: 'Verify', schema: VERDICT, effort: 'high',
    }).then(v => ({ ...f, dimension: d.key, verdict: v }))
  )),
)
const all = results.flat().filter(Boolean)
const confirmed = all.filter(f => f.verdict?.isReal)
log(`${confirmed.length} of ${all.length} findings confirmed`)
return { all: all.length, confirmed }
