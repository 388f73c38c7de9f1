// Takes an answer that is nested thirty thousand deep.
// The wall: an exception, or the value; the engine lives.
export const meta = { name: 'deep_answer', description: 'An attack.' }
try { await tool('hostile.result_deeply_nested', {}) } catch (e) { log(e.message) }

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
