export const meta = {
  name: 'check-area',
  description: 'Ask a few independent reviewers about one area of the code base',
  phases: [{ title: 'Review' }],
}

const QUESTIONS = ['What breaks for callers?', 'What is untested?', 'What is undocumented?']
phase('Review')
const answers = await parallel(QUESTIONS.map(question => () =>
  agent(`${question} Area: ${args.area}. Depth: ${args.depth}.`, { label: `${args.area}: ${question}` })))
return { area: args.area, answers: answers.filter(Boolean).length }
