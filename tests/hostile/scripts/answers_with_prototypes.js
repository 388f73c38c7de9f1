// Takes an answer that names `__proto__`, numbers that no machine holds, and a key twice.
// The wall: it becomes a plain value and changes nobody's prototype.
export const meta = { name: 'answers_with_prototypes', description: 'An attack.' }
const odd = await tool('hostile.result_odd_numbers', {})
if (({}).polluted !== undefined || odd.polluted !== undefined || odd.n !== Infinity || odd.k !== 2) return JSON.stringify(odd)

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
