// Uses symbols that change how objects are joined, matched, iterated, named and converted.
// The wall: the engine asks none of them.
export const meta = { name: 'symbol_tricks', description: 'An attack.' }
for (const proto of [Object.prototype, Array.prototype, String.prototype, Function.prototype]) {
  for (const symbol of [Symbol.toPrimitive, Symbol.toStringTag, Symbol.isConcatSpreadable, Symbol.unscopables, Symbol.asyncIterator, Symbol.match, Symbol.split]) {
    try { Object.defineProperty(proto, symbol, { get() { throw new Error('asked') }, configurable: true }) } catch { /* fixed already */ }
  }
}
const said = await tool('quiet.neighbour', { text: 'across' })
return said === 'across' ? 'intact' : 'broken'
