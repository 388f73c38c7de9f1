// Returns, awaits and passes objects that pretend to be promises and call back twice, never, or into the engine.
// The wall: they are ordinary values that settle once.
export const meta = { name: 'thenable_answers', description: 'An attack.' }
const twice = { then(resolve, reject) { resolve('first'); reject(new Error('second')); resolve('third') } }
const inward = { then(resolve) { tool('quiet.neighbour', { text: 'inner' }).then(resolve); resolve('outer') } }
const throwing = { get then() { throw new Error('no') } }
const results = await parallel([() => twice, () => inward, () => throwing, () => ({ then: 7 })])
if (results[0] !== 'first' || results[1] !== 'outer' || results[2] !== null) return JSON.stringify(results)

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
