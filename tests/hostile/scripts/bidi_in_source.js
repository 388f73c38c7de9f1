// Holds characters that show the script in another order than it runs in (and begins with a byte order mark).
// Nothing is refused: what runs is what is recorded, and whatever shows it shows them.
export const meta = { name: 'bidi_in_source', description: 'An attack.' }
const level = 'user‮ ⁦// admin⁩ ⁦'

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
