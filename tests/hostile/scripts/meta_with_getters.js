// Puts a getter into `meta`, to run code while it is only read.
// The wall: `meta` is a literal or the script is refused.
export const meta = { get name() { return 'x' }, description: 'An attack.' }
return 1
