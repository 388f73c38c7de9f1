export const meta = {
  name: 'spawn_subagents',
  description: 'Gives each task to a subagent of its own and returns what became of every one, in the order of the tasks.',
}

const known = ['label', 'schema', 'context', 'model', 'isolation', 'timeout', 'retry']

function options(task) {
  const chosen = {}
  for (const name of known) if (task[name] !== undefined) chosen[name] = task[name]
  if (task.agent !== undefined) chosen.agentType = task.agent
  const allow = [...(task.permissions ?? [])]
  if (task.directory !== undefined) allow.push('read:' + task.directory)
  if (allow.length > 0) chosen.allow = allow
  return chosen
}

async function result(task) {
  try {
    return await agentResult(task.prompt ?? `Do what ${task.agent} does.`, options(task))
  } catch (error) {
    // A task that cannot begin costs only itself, like one that fails.
    return { status: 'refused', cause: error.code ?? 'invalid-arguments', message: String(error.message ?? error) }
  }
}

return { results: await parallel(args.tasks.map((task) => () => result(task))) }
