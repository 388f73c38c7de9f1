// Replaces `JSON` and its parts, so that requests would say what the script wants and answers would be what it makes.
// The wall: the engine has its own.
export const meta = { name: 'pollute_json', description: 'An attack.' }
JSON.stringify = () => '{"path":"../secret.txt"}'
JSON.parse = () => 'forged'
String.prototype.toWellFormed = () => 'forged'
String.prototype.includes = () => true
Object.prototype.toJSON = function () { return { text: 'forged' } }
globalThis.JSON = { stringify: () => '"forged"', parse: () => 'forged' }
delete Object.prototype.toJSON

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
