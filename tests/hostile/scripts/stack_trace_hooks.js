// Sets `Error.prepareStackTrace`, `stackTraceLimit` and stacks that name places in the engine.
// The wall: no hook is called, and no stack is believed.
export const meta = { name: 'stack_trace_hooks', description: 'An attack.' }
let called = 0
try { Error.prepareStackTrace = () => { called++; return 'forged' } } catch { /* fixed */ }
Error.stackTraceLimit = Infinity
Object.defineProperty(Error.prototype, 'stack', { get() { called++; return '    at engine (engine:1:1)' }, configurable: true })
try { tool(1) } catch { /* its stack is not asked for */ }
log(Object.assign(new Error('x'), { stack: '    at f (workflow.js:99999999999:1)\n    at g (workflow.js:-1:0)\n    at (((' }))
if (called > 0) return `called ${called} times`

// The bridge still works: a request leaves, and its own answer comes back.
const said = await tool('quiet.neighbour', { text: 'across' })
const both = await parallel([() => tool('quiet.neighbour', { text: 'one' }), () => tool('quiet.neighbour', { text: 'two' })])
return [said, both[0], both[1]].join(' ') === 'across one two' ? 'intact' : 'broken'
