// Calls a function within `meta`.
// The wall: refused.
export const meta = { name: String.raw`x${log('ran')}`, description: (() => 'An attack.')() }
return 1
