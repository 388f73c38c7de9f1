// Gives `meta` a prototype that would carry what the literal does not say.
// The wall: refused.
export const meta = { __proto__: { name: 'inherited' }, description: 'An attack.' }
return 1
