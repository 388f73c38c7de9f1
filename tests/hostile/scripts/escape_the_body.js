// Closes the function that holds the script, to run what follows outside of it.
// The wall: a syntax error with its place.
export const meta = { name: 'escape_the_body', description: 'An attack.' }
return 1 }); globalThis.escaped = true; (async () => {
