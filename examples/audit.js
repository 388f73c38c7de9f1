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

const SHARD_FILES_MIN = 32 // files one agent looks at, at least,
const SHARD_FILES_MAX = 64 // and at most
const SHARD_BYTES = 4 * 1024 * 1024 // and after so much of them it begins no other
const LOCK_FILE =
  /(^|\/)(Cargo\.lock|package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|([^/]*[-_.])?requirements[^/]*\.txt|requirements\/[^/]+\.txt|(poetry|uv|pdm|Pipfile)\.lock|go\.(sum|mod))$/
const LOCK_ENDINGS = new Set(['lock', 'json', 'yaml', 'txt', 'sum', 'mod'])

const skipped = [] // { path, reason }: whatever nobody examined ends up here, and in the report

// ------------------------------------------------------------------------------------------------------------- list
phase('list')

// tool() calls one tool, no agent in between. It asks for bare paths: what is not asked for cannot change, so the listing of
// the last time stands until a file comes or goes. A very large tree does not fit into one answer; then its directories are
// listed one by one.
async function list(path) {
  const asked = { path, hidden: true, ignore, exclude, by_kind: true }
  let whole = null
  try {
    whole = await tool('files.list', { ...asked, recursive: true })
  } catch (error) {
    if (error.code !== 'limit') throw error
  }
  if (whole && !whole.truncated) return whole
  const level = await tool('files.list', asked)
  if (level.truncated) skipped.push({ path, reason: 'more is in this directory than one answer holds; the rest is not listed' })
  const below = level.by_kind.dirs.filter((dir) => baseName(dir) !== '.git')
  // parallel() runs functions side by side and waits for all of them. One that throws gives null.
  const parts = await parallel(below.map((dir) => () => list(dir)))
  parts.forEach((part, i) => part ?? skipped.push({ path: below[i], reason: 'the directory could not be listed' }))
  const all = [level, ...parts.filter(Boolean)]
  const paths = (kind) => all.flatMap((part) => part.by_kind[kind])
  return {
    by_kind: { files: paths('files'), symlinks: paths('symlinks'), others: paths('others') },
    skipped: all.flatMap((part) => part.skipped),
  }
}

const tree = await list('.')
const { files, symlinks, others } = tree.by_kind
skipped.push(...tree.skipped)
for (const path of symlinks) skipped.push({ path, reason: 'a symbolic link; it is not followed' })
for (const path of others) skipped.push({ path, reason: 'a pipe, socket or device' })

// At most half of the agents scan; the others are kept for the second look.
const shards = shard(files, Math.max(SHARD_FILES_MIN, Math.ceil(files.length / (agents / 2))))
const locked = files.filter(isLockFile)
const locks = byDirectory(locked, 8)
log(`${files.length} files: ${shards.length} shards, ${locked.length} lock files`)

// ------------------------------------------------------------------------------------------------------------- scan
phase('scan')

// An agent with an agentType is a component: deterministic, no model, no key. What it may touch is what this run was
// granted, less what its own manifest does not ask for.
const scan = (agentType, paths, context) => async () => {
  started++
  let answer = null
  let why = 'it failed or was stopped'
  try {
    answer = await agent(`Scan ${paths.length} files.`, {
      agentType,
      label: paths.length === 1 ? `${agentType} ${paths[0]}` : `${agentType} ${paths[0]} +${paths.length - 1}`,
      context: { mode: 'scan', files: paths, ...context },
    })
  } catch (error) {
    why = error.message // it could not even begin: no agents are left, for example
  }
  // No answer: its files are not lost from sight, and the run will not call itself completed.
  if (!answer) {
    for (const path of paths) skipped.push({ path, reason: `no answer from the ${agentType} agent: ${why}` })
    return []
  }
  skipped.push(...answer.skipped)
  if (answer.advisories && answer.packages > 0) known.push(answer.advisories)
  examined += agentType === 'secrets' ? answer.scanned : 0
  bytes += answer.bytes ?? 0
  // What it did not begin, since the files before were long, goes to others.
  const rest = await parallel(chunks(answer.left ?? [], 8).map((part) => scan(agentType, part, context)))
  return [...answer.findings.map((finding) => ({ ...finding, analyzer: agentType })), ...rest.filter(Boolean).flat()]
}

let started = 0
let examined = 0
let bytes = 0
const known = [] // what each agent that had packages to look up says of the advisories
const found = await parallel([
  ...shards.map((paths) => scan('secrets', paths, { bytes_max: SHARD_BYTES })),
  ...locks.map((paths) => scan('deps', paths, advisories ? { advisories } : {})),
])

// Advisories that could not be read are something nobody examined, too.
const flaws = advisoriesOf(known)
if (known.length && flaws.given && (flaws.unreadable || !flaws.records)) {
  const some = flaws.unreadable < flaws.records
  skipped.push({ path: advisories, reason: some ? `${flaws.unreadable} of ${flaws.records} advisories could not be read` : flaws.note })
}
if (locked.length) log(flaws.note)

const unique = [...new Map(found.filter(Boolean).flat().map((finding) => [finding.fingerprint, finding])).values()]

// ----------------------------------------------------------------------------------------------------------- refute
phase('refute')

// A second agent, in another cell and with no word of how the first came to it, tries to show each finding wrong. The
// gravest come first; what there are no agents left for stays in the report as unverified.
const RANK = { critical: 0, high: 1, medium: 2, low: 3, info: 4 }
unique.sort((a, b) => RANK[a.severity] - RANK[b.severity])
const left = Math.min(4096, Math.max(0, agents - started))

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
  advisories: flaws,
  stats: {
    files_listed: files.length,
    files_examined: examined,
    bytes_examined: bytes,
    shards: shards.length,
    lock_files: locked.length,
    second_looks: verdicts.filter(Boolean).length,
  },
}

// ------------------------------------------------------------------------------------------------------------ parts

function baseName(path) {
  return path.slice(path.lastIndexOf('/') + 1)
}

function dirName(path) {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

// Only names that end like one are held against the pattern: a script is interpreted, and there may be many files.
function isLockFile(path) {
  return LOCK_ENDINGS.has(path.slice(path.lastIndexOf('.') + 1)) && LOCK_FILE.test(path)
}

// Which advisories the findings rest on. All agents read the same ones, but each counts those about its own files.
function advisoriesOf(known) {
  const none = { given: Boolean(advisories), records: 0, unreadable: 0, note: 'No packages were found, so no advisories were read.' }
  const { given, records, unreadable, note } = known.reduce((most, one) => (one.records > most.records ? one : most), known[0] ?? none)
  if (records === unreadable) return { given, records, unreadable, note }
  const lost = unreadable ? `; ${unreadable} more could not be read` : ''
  return { given, records, unreadable, note: `${records - unreadable} advisories read from ${advisories}${lost}.` }
}

// Neighbours stay together, so that an agent sees one corner of the tree. Where one agent's files end, the name of a directory
// decides: a file more or less concerns one agent, and not all that come after it.
function shard(all, least) {
  const most = Math.max(SHARD_FILES_MAX, least)
  const out = []
  for (let from = 0, to; from < all.length; from = to) {
    to = Math.min(from + least, all.length)
    for (let dir = dirName(all[to - 1]); to < all.length && to - from < most; to++) {
      const next = dirName(all[to])
      if (next !== dir && isBoundary(next)) break
      dir = next
    }
    out.push(all.slice(from, to))
  }
  return out
}

// About every other directory, always the same ones.
function isBoundary(dir) {
  return (dir.length + dir.charCodeAt(dir.length - 1)) % 2 === 0
}

function chunks(all, size) {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size))
}

// About as many each, and no directory is parted: a go.sum is understood by the go.mod beside it.
function byDirectory(all, size) {
  const out = []
  for (const path of all) {
    const part = out[out.length - 1]
    if (part && (part.length < size || (part.length < SHARD_FILES_MAX && dirName(part[part.length - 1]) === dirName(path)))) part.push(path)
    else out.push([path])
  }
  return out
}

// One line for a path, however many looked at it in vain.
function dedupe(all) {
  return [...new Map(all.map((skip) => [`${skip.path}\0${skip.reason}`, skip])).values()]
}
