// Leaves a `toJSON` on every object, so that all arguments become another's. Nothing is refused: it is the script's own
// argument, sent as it stands when it is sent; the tool is judged as called.
export const meta = { name: 'pollute_to_json', description: 'An attack.' }
Object.prototype.toJSON = function () { return { text: 'swapped' } }
const said = await tool('quiet.neighbour', { text: 'across' })
delete Object.prototype.toJSON
return said === 'swapped' ? 'intact' : said
