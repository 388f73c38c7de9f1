// Matches a regular expression that takes longer than the universe.
// The wall: limit `cpu-time-ms`.
export const meta = { name: 'catastrophic_regexp', description: 'An attack.' }
return /^(?:(?:a+)+)+$/.test('a'.repeat(60) + 'b')
