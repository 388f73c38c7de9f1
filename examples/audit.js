// An audit of a source tree: secrets in its files, and known vulnerabilities in its lock files.
//
//   vespiary run examples/audit.js --dir PATH
//
// A workflow is plain JavaScript. It runs in a sealed cell: it has no files, no network, no clock and no randomness. Whatever
// it wants to know or do, it asks for, with tool() and agent(), and each of those is judged, run in a fresh cell of its
// own, and recorded.
//
// Arguments, all optional, for example --arg advisories=osv/ :
//   advisories  path of an OSV export (a directory or file inside the project) that lock files are matched against
//   ignore      false: also look at files that .gitignore names           (default true)
//   exclude     names of directories that are left out                    (default ['vespiary-report'])
//   agents      agents this run may start; the same as --agents           (default 1000)

// `meta` must come first and must be a plain literal: it is read without running anything.
export const meta = {
  name: 'audit',
  description: 'Find secrets and vulnerable dependencies, and have every finding checked a second time.',
  phases: [{ title: 'list' }, { title: 'scan' }, { title: 'refute' }],
}

const { advisories, ignore = true, exclude = ['vespiary-report'], agents = 1000 } = args

const SHARD_FILES = 64 // files one agent looks at, and
const SHARD_BYTES = 4 * 1024 * 1024 // how much they hold together
const FILE_BYTES_MAX = 32 * 1024 * 1024 // larger files are listed as not examined
const LOCK_FILE =
  /^(Cargo\.lock|package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|(.*[-_.])?requirements.*\.txt|(poetry|uv|pdm|Pipfile)\.lock|go\.(sum|mod))$/
const LOCK_ENDINGS = new Set(['lock', 'json', 'yaml', 'txt', 'sum', 'mod'])

const skipped = [] // { path, reason }: whatever nobody examined ends up here, and in the report

// ------------------------------------------------------------------------------------------------------------- list
phase('list')

// tool() calls one tool, no agent in between. A very large tree does not fit into one answer; then its directories are
// listed one by one.
async function list(path) {
  let whole = null
  try {
    whole = await tool('files.list', { path, recursive: true, hidden: true, ignore, exclude })
  } catch (error) {
    if (error.code !== 'limit') throw error
  }
  if (whole && !whole.truncated) return whole
  const level = await tool('files.list', { path, hidden: true, ignore, exclude })
  const below = level.entries.filter((entry) => entry.kind === 'dir' && baseName(entry.path) !== '.git')
  // parallel() runs functions side by side and waits for all of them. One that throws gives null.
  const parts = await parallel(below.map((dir) => () => list(dir.path)))
  parts.forEach((part, i) => part ?? skipped.push({ path: below[i].path, reason: 'the directory could not be listed' }))
  const found = parts.filter(Boolean)
  return {
    entries: [...level.entries, ...found.flatMap((part) => part.entries)],
    skipped: [...level.skipped, ...found.flatMap((part) => part.skipped)],
  }
}

const tree = await list('.')
skipped.push(...tree.skipped)

const files = []
for (const { path, kind, size = 0 } of tree.entries) {
  if (kind === 'file') {
    if (size > FILE_BYTES_MAX) skipped.push({ path, reason: `larger than ${FILE_BYTES_MAX >> 20} MiB` })
    else if (size > 0) files.push({ path, size })
  } else if (kind === 'symlink') skipped.push({ path, reason: 'a symbolic link; it is not followed' })
  else if (kind === 'other') skipped.push({ path, reason: 'a pipe, socket or device' })
}
const bytes = files.reduce((sum, file) => sum + file.size, 0)

// At most half of the agents scan; the others are kept for the second look.
const shards = shard(files, Math.max(SHARD_FILES, Math.ceil(files.length / (agents / 2))))
const locks = chunks(files.filter(isLockFile), 8)
log(`${files.length} files, ${(bytes / 1e6).toFixed(1)} MB: ${shards.length} shards, ${locks.flat().length} lock files`)

// ------------------------------------------------------------------------------------------------------------- scan
phase('scan')

// An agent with an agentType is a component: deterministic, no model, no key. What it may touch is what this run was
// granted, less what its own manifest does not ask for.
const scan = (agentType, part, context) => async () => {
  const paths = part.map((file) => file.path)
  const answer = await agent(`Scan ${paths.length} files.`, {
    agentType,
    label: paths.length === 1 ? `${agentType} ${paths[0]}` : `${agentType} ${paths[0]} +${paths.length - 1}`,
    context: { mode: 'scan', files: paths, ...context },
  })
  // null: the agent failed, or the run is being stopped. Its files are not lost from sight, and the run will not call itself completed.
  if (!answer) {
    skipped.push(...paths.map((path) => ({ path, reason: `no answer from the ${agentType} agent: it failed or was stopped` })))
    return []
  }
  skipped.push(...answer.skipped)
  examined += agentType === 'secrets' ? answer.scanned : 0
  return answer.findings.map((finding) => ({ ...finding, analyzer: agentType }))
}

let examined = 0
const found = await parallel([
  ...shards.map((part) => scan('secrets', part, {})),
  ...locks.map((part) => scan('deps', part, advisories ? { advisories } : {})),
])
const unique = [...new Map(found.filter(Boolean).flat().map((finding) => [finding.fingerprint, finding])).values()]

// ----------------------------------------------------------------------------------------------------------- refute
phase('refute')

// A second agent, in another cell and with no word of how the first came to it, tries to show each finding wrong. The
// gravest come first; what there are no agents left for stays in the report as unverified.
const RANK = { critical: 0, high: 1, medium: 2, low: 3, info: 4 }
unique.sort((a, b) => RANK[a.severity] - RANK[b.severity])
const left = Math.min(4096, Math.max(0, agents - shards.length - locks.length))

const verdicts = await parallel(
  unique.slice(0, left).map((finding) => () =>
    agent('Try to refute this finding.', {
      agentType: finding.analyzer,
      label: `refute ${finding.rule} ${finding.path}:${finding.line}`,
      context: { mode: 'refute', finding, ...(advisories ? { advisories } : {}) },
    }),
  ),
)
const judged = unique.map((finding, i) => ({
  ...finding,
  verdict: verdicts[i] ?? { verdict: 'unverified', reason: i < left ? 'no answer from the second agent' : 'no agents were left' },
}))
const stands = (finding) => finding.verdict.verdict !== 'refuted'
log(`${judged.filter(stands).length} findings stand, ${judged.length - judged.filter(stands).length} refuted`)

// What is returned becomes the report.
return {
  findings: judged.filter(stands),
  refuted: judged.filter((finding) => !stands(finding)),
  skipped: dedupe(skipped),
  stats: {
    files_listed: files.length,
    files_examined: examined,
    bytes_listed: bytes,
    shards: shards.length,
    lock_files: locks.flat().length,
    second_looks: verdicts.filter(Boolean).length,
  },
}

// ------------------------------------------------------------------------------------------------------------ parts

function baseName(path) {
  return path.slice(path.lastIndexOf('/') + 1)
}

// Only names that end like one are held against the pattern: a script is interpreted, and there may be many files.
function isLockFile({ path }) {
  return LOCK_ENDINGS.has(path.slice(path.lastIndexOf('.') + 1)) && LOCK_FILE.test(baseName(path))
}

// Neighbours stay together, so that an agent sees one corner of the tree.
function shard(all, filesMax) {
  const out = []
  let last = null
  let room = 0
  for (const file of all) {
    if (!last || last.length >= filesMax || file.size > room) {
      out.push((last = []))
      room = SHARD_BYTES
    }
    last.push(file)
    room -= file.size
  }
  return out
}

function chunks(all, size) {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size))
}

// One line for a path, however many looked at it in vain.
function dedupe(all) {
  return [...new Map(all.map((skip) => [`${skip.path}\0${skip.reason}`, skip])).values()]
}
