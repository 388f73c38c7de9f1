// Logs without end and never waits.
// The wall: a limit.
export const meta = { name: 'log_without_a_break', description: 'An attack.' }
for (;;) log('x'.repeat(100000))
