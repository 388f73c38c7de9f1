// Measures time without a clock: by counting in a microtask loop between answers, and by the order of answers.
// Nothing is refused; what it learns is the order of answers, which the run records.
export const meta = { name: 'tell_the_time', description: 'An attack.' }
let ticks = 0
let over = false
const slow = tool('quiet.neighbour', { text: 'slow' }).then(v => { over = true; return v })
for (let i = 0; i < 10000 && !over; i++) { ticks++; await null }
await slow
return ticks === 10000 ? 'intact' : `an answer arrived between microtasks, after ${ticks}`
