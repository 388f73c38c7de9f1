export const meta = {
  name: 'kinds',
  description: 'Every kind of work a run can do, many times over: the fleet that is killed and resumed.',
}

// Four kinds in turn: a question to a model, a file written into the project, one written in a worktree, files looked through.
const kinds = [
  async i => (await agent(`Question ${i}: how large is it?`, {
    label: `ask ${i}`,
    schema: { type: 'object', properties: { size: { type: 'integer' } }, required: ['size'] },
  })).size,
  async i => (await agent('go', {
    label: `write ${i}`,
    agentType: 'writer',
    context: { calls: [write(`out/${i}.txt`, i), write(`out/${i}.more`, i)] },
  })).length,
  async i => (await agent('go', {
    label: `change ${i}`,
    agentType: 'writer',
    isolation: 'worktree',
    context: { calls: [write(`own/${i}.txt`, i)] },
  })).length,
  async i => (await agent('look', {
    label: `look ${i}`,
    agentType: 'secrets',
    context: { mode: 'scan', files: [`src/${i}.txt`] },
  })).findings.length,
]
const write = (path, i) => ({
  tool: 'files.write',
  arguments: { path, text: `written for ${i}\n`, create_dirs: true },
})

const items = Array.from({ length: args.agents }, (_, i) => i)
const results = await pipeline(
  items,
  i => kinds[i % kinds.length](i),
  async (result, i) => {
    // The script itself writes too, once what it writes is known.
    if (i % 10 === 0) await tool('files.write', { path: `log/${i}.txt`, text: `${i}: ${result}\n`, create_dirs: true })
    return result
  },
)
return { results, missing: results.filter(r => r === null).length }
