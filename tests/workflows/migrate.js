export const meta = {
  name: 'migrate-client',
  description: 'Plan the migration of every file to the new client, have a person approve the plan, then migrate each file in its own worktree',
  phases: [{ title: 'Plan' }, { title: 'Approve' }, { title: 'Migrate' }, { title: 'Verify' }],
  whenToUse: 'A mechanical change over many files that should not start unseen',
}

const VERDICT = {
  type: 'object',
  required: ['ok', 'reason'],
  properties: { ok: { type: 'boolean' }, reason: { type: 'string' } },
}

phase('Plan')
const { entries } = await tool('files.list', { path: args.dir, recursive: true })
const files = entries.filter(e => e.kind === 'file' && e.path.endsWith('.js')).map(e => e.path).sort().slice(0, 50)
const plans = await parallel(files.map(file => () =>
  agent(`Say in one sentence how ${file} moves to the new client.`, { label: `plan:${file}` })))

phase('Approve')
const decision = await gate({ title: `Migrate ${files.length} files to the new client?`, payload: { files, plans } })
if (!decision.approved) return { migrated: 0, of: files.length, why: decision.note ?? `denied by ${decision.by}` }

const results = await pipeline(
  files,
  (file, _, i) => agent(`Migrate ${file}. The plan: ${plans[i]}`, {
    label: `migrate:${file}`, phase: 'Migrate', isolation: 'worktree',
  }),
  (done, file) => agent(`Does this migration of ${file} keep its behaviour? ${done}`, {
    label: `verify:${file}`, phase: 'Verify', schema: VERDICT, deps: [`migrate:${file}`],
  }),
)
return { migrated: results.filter(r => r?.ok).length, of: files.length, approvedBy: decision.by }
