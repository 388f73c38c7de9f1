// The script's side of the bridge: the functions a workflow sees, written in its own language.
//
// Runs once, before any script, in a fresh realm. Everything it uses from that realm is captured first, so that a script
// that rewrites prototypes changes only its own world. Three rules keep it so:
//   - a built-in method is called through a captured `call.bind`, never through a prototype;
//   - objects made here have no prototype, or only own data, wherever something will be looked up in them;
//   - no spread, destructuring or for-of over arrays: those ask the prototype how to iterate.
// Only what is defined on globalThis at the end can be reached from a script. panel.js goes on from here.
(host) => {
  'use strict';

  const uncurried = (method) => Function.prototype.call.bind(method);
  const { defineProperty, freeze, getPrototypeOf, setPrototypeOf } = Object;
  const { isArray } = Array;
  const { stringify } = JSON;
  const { captureStackTrace, isError } = Error;
  const { construct } = Reflect;
  const mapGet = uncurried(Map.prototype.get);
  const mapSet = uncurried(Map.prototype.set);
  const mapDelete = uncurried(Map.prototype.delete);
  const mapForEach = uncurried(Map.prototype.forEach);
  const setForEach = uncurried(Set.prototype.forEach);
  const then = uncurried(Promise.prototype.then);
  const toWellFormed = uncurried(String.prototype.toWellFormed);
  const includes = uncurried(String.prototype.includes);
  const ErrorBase = Error;
  const TypeErrorBase = TypeError;
  const RangeErrorBase = RangeError;
  const PromiseBase = Promise;
  const MapBase = Map;
  const SetBase = Set;
  const StringBase = String;
  const DateBase = globalThis.Date; // the name alone is the constructor declared below
  const arrayPrototype = Array.prototype;
  const instanceOf = uncurried(Function.prototype[Symbol.hasInstance]);

  const { emit, checkGate, settleOptions, place } = host;
  const AGENT = 0;
  const TOOL = 1;
  const PHASE = 2;
  const LOG = 3;
  const AGENT_RESULT = 4;
  const WORKFLOW = 5;
  const GATE = 6;

  const ITEMS_MAX = 4096;
  const NOTES_MAX = 10;
  const WARNINGS_MAX = 20;

  const define = (target, name, value, open, enumerable) =>
    defineProperty(target, name, { __proto__: null, value, writable: open, enumerable, configurable: open });

  // --- words for values -----------------------------------------------------------------------------------------

  const kindOf = (value) => {
    if (value === null) return 'null';
    if (isArray(value)) return 'an array';
    switch (typeof value) {
      case 'undefined': return 'undefined';
      case 'object': return instanceOf(PromiseBase, value) ? 'a promise' : 'an object';
      default: return `a ${typeof value}`;
    }
  };

  // A value as a person would like to see it in a log. Runs the script's own getters and toJSON, which may throw.
  const inspectOrThrow = (value) => {
    switch (typeof value) {
      case 'string': return value;
      case 'bigint': return `${value}n`;
      case 'symbol': return StringBase(value);
      case 'function': return '[function]';
      case 'object': break;
      default: return `${value}`;
    }
    if (value === null) return 'null';
    if (isError(value)) return headline(value);
    if (instanceOf(MapBase, value) || instanceOf(SetBase, value)) {
      const list = setPrototypeOf([], null);
      let count = 0;
      if (instanceOf(MapBase, value)) mapForEach(value, (item, key) => { list[count++] = [key, item]; });
      else setForEach(value, (item) => { list[count++] = item; });
      setPrototypeOf(list, arrayPrototype);
      return `${instanceOf(MapBase, value) ? 'Map' : 'Set'}(${count}) ${stringify(list)}`;
    }
    const text = stringify(value, (_key, inner) => (typeof inner === 'bigint' ? `${inner}n` : inner));
    return text === undefined ? '[object]' : text;
  };

  const inspect = (value) => {
    try {
      return toWellFormed(inspectOrThrow(value));
    } catch {
      return '[a value that cannot be shown]';
    }
  };

  // `name: message` of an error, whatever the script has done to it.
  const headline = (error) => {
    let name = 'Error';
    let message = '';
    try {
      const own = error.name;
      if (typeof own === 'string') name = own;
    } catch { /* a getter that throws names nothing */ }
    try {
      const own = error.message;
      if (typeof own === 'string') message = own;
    } catch { /* nor does it say anything */ }
    return toWellFormed(message === '' ? name : name === '' ? message : `${name}: ${message}`);
  };

  // What the host is told about an uncaught exception: a line, and the stack where there is one.
  const describe = (reason) => {
    const out = { __proto__: null, message: '', stack: '' };
    let error = false;
    try {
      error = isError(reason);
      if (error && typeof reason.stack === 'string') out.stack = toWellFormed(reason.stack);
    } catch { /* no stack, then */ }
    // With no memory left for an Error, null is what the engine throws.
    const nothing = reason === null ? ' (or ran out of memory: have it keep and ask for less at once)' : '';
    out.message = error
      ? headline(reason)
      : `the script threw ${typeof reason === 'string' ? stringify(toWellFormed(reason)) : inspect(reason)}${nothing}, which is not an Error and so has no place; throw new Error(...)`;
    return out;
  };

  const brief = (reason) => {
    const { message, stack } = describe(reason);
    return `${message}${place(stack)}`;
  };

  // --- values out -----------------------------------------------------------------------------------------------

  // JSON text of a value, or a TypeError that says what JSON cannot hold. JSON.stringify alone would drop functions
  // without a word.
  const encode = (value, what) => {
    let text;
    try {
      text = stringify(value, (key, inner) => {
        const kind = typeof inner;
        if (kind === 'function' || kind === 'symbol' || kind === 'bigint') {
          const where = key === '' ? what : `${what}, at key ${stringify(key)},`;
          throw new TypeErrorBase(`${where} holds a ${kind}, which JSON cannot; ${kind === 'bigint' ? 'convert it with Number() or String()' : 'leave it out'}`);
        }
        return inner;
      });
    } catch (error) {
      if (isError(error) && includes(headline(error), 'circular')) {
        throw new TypeErrorBase(`${what} contains itself, which JSON cannot hold; leave the circular reference out`);
      }
      throw error;
    }
    return text === undefined ? 'null' : text;
  };

  // --- requests -------------------------------------------------------------------------------------------------

  const waiting = new MapBase();
  let currentPhase;

  // `entry` is the function the script called: its stack begins where the script called it.
  const ask = (kind, first, second, entry) => {
    const site = { __proto__: null };
    captureStackTrace(site, entry);
    const id = emit(kind, first, second);
    return new PromiseBase((resolve, reject) => {
      mapSet(waiting, id, { __proto__: null, resolve, reject, site });
    });
  };

  // Resolving looks for a method `then`; without a prototype there is none to find but the value's own.
  const resolvePlainly = (resolve, value) => {
    if (value === null || typeof value !== 'object') return resolve(value);
    const prototype = getPrototypeOf(value);
    setPrototypeOf(value, null);
    resolve(value);
    setPrototypeOf(value, prototype);
  };

  const taken = (id) => {
    const entry = mapGet(waiting, id);
    mapDelete(waiting, id);
    return entry;
  };

  const resolved = (id, value) => {
    const entry = taken(id);
    if (entry !== undefined) resolvePlainly(entry.resolve, value);
  };

  const rejected = (id, code, message, detail) => {
    const entry = taken(id);
    if (entry === undefined) return;
    const error = new ErrorBase(message);
    define(error, 'code', code, true, true);
    define(error, 'detail', detail, true, true);
    define(error, 'stack', entry.site.stack, true, false);
    entry.reject(error);
  };

  // JSON text of an object that a script may leave out.
  const written = (what, value, example, name) => {
    if (value === undefined || value === null) return '{}';
    if (typeof value !== 'object' || isArray(value)) {
      throw new TypeErrorBase(`${what} must be an object like ${example}, not ${kindOf(value)}`);
    }
    return encode(value, name);
  };

  const askAgent = (name, kind, prompt, options, entry) => {
    if (typeof prompt !== 'string') {
      throw new TypeErrorBase(`${name}(prompt, options): the prompt must be a string, not ${kindOf(prompt)}`);
    }
    const text = written(`${name}(prompt, options): the options`, options, "{ label: 'scan' }", `${name}()'s options`);
    return ask(kind, toWellFormed(prompt), settleOptions(`${name}()`, text, currentPhase), entry);
  };
  const agent = (prompt, options) => askAgent('agent', AGENT, prompt, options, agent);
  const agentResult = (prompt, options) => askAgent('agentResult', AGENT_RESULT, prompt, options, agentResult);

  const tool = (name, args) => {
    if (typeof name !== 'string' || !includes(name, '.')) {
      throw new TypeErrorBase(`tool(name, args): the name must be a string like 'files.read', not ${typeof name === 'string' ? stringify(name) : kindOf(name)}`);
    }
    const text = written('tool(name, args): the arguments', args, "{ path: 'README.md' }", "tool()'s arguments");
    return ask(TOOL, toWellFormed(name), text, tool);
  };

  const workflow = (name, args) => {
    if (typeof name !== 'string' || name === '') {
      throw new TypeErrorBase(`workflow(name, args): the name must be that of a workflow, like 'review-changes', not ${name === '' ? "''" : kindOf(name)}`);
    }
    return ask(WORKFLOW, toWellFormed(name), encode(args, "workflow()'s args"), workflow);
  };

  const gate = (options) => {
    const text = written('gate(options): the options', options, "{ title: 'Deploy?', payload: plan }", "gate()'s options");
    checkGate(text);
    return ask(GATE, '', text, gate);
  };

  const phase = (title) => {
    if (typeof title !== 'string' || title === '') {
      throw new TypeErrorBase(`phase(title): the title must be a string that is not empty, not ${title === '' ? "''" : kindOf(title)}`);
    }
    currentPhase = toWellFormed(title);
    emit(PHASE, currentPhase, '');
  };

  const say = (text) => { emit(LOG, text, ''); };

  const joined = (values) => {
    let line = '';
    for (let i = 0; i < values.length; i++) line += (i === 0 ? '' : ' ') + inspect(values[i]);
    return line;
  };
  const log = (...values) => say(joined(values));

  // What models may cost the run; told anew with every batch of answers, and the same until the next.
  let tokensMax = null;
  let tokensSpent = 0;
  const account = (total, spent) => {
    tokensMax = total === undefined ? null : total;
    tokensSpent = spent;
  };
  const budget = {
    spent: freeze(() => tokensSpent),
    remaining: freeze(() => (tokensMax === null ? Infinity : tokensMax > tokensSpent ? tokensMax - tokensSpent : 0)),
  };
  defineProperty(budget, 'total', { __proto__: null, get: freeze(() => tokensMax), enumerable: true, configurable: false });

  // --- fan-out --------------------------------------------------------------------------------------------------

  // The items, read once: an array may be a proxy, or change while stages run.
  const itemsOf = (what, items, most = ITEMS_MAX) => {
    if (!isArray(items)) throw new TypeErrorBase(`${what}: expected an array, not ${kindOf(items)}`);
    const { length } = items;
    if (length > most) {
      throw new RangeErrorBase(`${what}: ${length} items; at most ${most} are allowed, so split them into chunks`);
    }
    const list = setPrototypeOf([], null);
    for (let i = 0; i < length; i++) list[i] = items[i];
    return list;
  };

  const needFunction = (what, value) => {
    if (typeof value === 'function') return;
    const advice = instanceOf(PromiseBase, value) ? '; it has been started already, so write () => agent(...) instead of agent(...)' : '';
    throw new TypeErrorBase(`${what} must be a function, not ${kindOf(value)}${advice}`);
  };

  // Log lines about what did not come, so that nothing disappears unseen; a flood is counted instead.
  const notes = (what, ofMore) => {
    let count = 0;
    return {
      __proto__: null,
      add(line) {
        count++;
        if (count <= NOTES_MAX) say(`${what}: ${line}`);
      },
      finish() {
        if (count > NOTES_MAX) say(`${what}: ${count - NOTES_MAX} more ${ofMore}`);
      },
    };
  };

  // Run `travel(index)` for every index at once; a promise of the array of their results, null where none was put. It
  // rejects only when a journey calls its third argument.
  const gather = (count, travel, finish) => {
    const results = setPrototypeOf([], null);
    for (let i = 0; i < count; i++) results[i] = null;
    return new PromiseBase((resolve, reject) => {
      let open = count;
      const close = () => {
        finish();
        resolve(results);
        setPrototypeOf(results, arrayPrototype);
      };
      const arrived = () => { if (--open === 0) close(); };
      if (count === 0) close();
      for (let i = 0; i < count; i++) then(travel(i, results, reject), arrived, arrived);
    });
  };

  const parallel = (thunks) => {
    const list = itemsOf('parallel(thunks)', thunks);
    const { length } = list;
    for (let i = 0; i < length; i++) needFunction(`parallel(thunks): item [${i}]`, list[i]);
    const dropped = notes('parallel', 'items became null');
    return gather(length, async (index, results) => {
      try {
        const thunk = list[index];
        results[index] = await thunk();
      } catch (error) {
        dropped.add(`item [${index}] became null: it threw ${brief(error)}`);
      }
    }, dropped.finish);
  };

  const pipeline = (items, ...stages) => {
    const list = itemsOf('pipeline(items, ...stages)', items);
    const last = stages.length - 1;
    for (let i = 0; i <= last; i++) needFunction(`pipeline(items, ...stages): stage ${i + 1}`, stages[i]);
    const dropped = notes('pipeline', 'items became null');
    return gather(list.length, async (index, results) => {
      const item = list[index];
      let value = item;
      for (let i = 0; i <= last; i++) {
        const stage = stages[i];
        try {
          value = await stage(value, item, index);
        } catch (error) {
          dropped.add(`item [${index}] became null: stage ${i + 1} threw ${brief(error)}`);
          return;
        }
        if (value === null) {
          if (i < last) dropped.add(`item [${index}] became null: stage ${i + 1} gave null, so later stages were not called`);
          return;
        }
      }
      results[index] = value;
    }, dropped.finish);
  };

  // --- rejections that nobody saw -------------------------------------------------------------------------------

  const unseen = new MapBase();
  const track = (promise, reason, handled) => {
    if (handled) mapDelete(unseen, promise);
    else mapSet(unseen, promise, reason);
  };

  // Called once, when the script has ended. `main` is reported as the script's own outcome.
  const reportUnseen = (main) => {
    mapDelete(unseen, main);
    let count = 0;
    mapForEach(unseen, (reason) => {
      count++;
      if (count <= WARNINGS_MAX) say(`warning: a promise was rejected and nothing awaited it: ${brief(reason)}`);
    });
    if (count > WARNINGS_MAX) say(`warning: ${count - WARNINGS_MAX} more promises were rejected and nothing awaited them`);
  };

  // --- the realm ------------------------------------------------------------------------------------------------

  const refused = (what, advice) => () => {
    throw new ErrorBase(`${what} would make this workflow give another result each time it runs or resumes; ${advice}`);
  };
  const PASS_TIME = 'pass the time in through args, for example args.now';

  // Function declarations, not arrows: Date is a constructor with a name and a length of its own.
  function Date(year, month, day, hours, minutes, seconds, milliseconds) {
    if (new.target === undefined) refused('Date()', PASS_TIME)();
    if (arguments.length === 0) refused('new Date() without arguments', PASS_TIME)();
    const list = setPrototypeOf([], null);
    for (let i = 0; i < arguments.length; i++) list[i] = arguments[i];
    return construct(DateBase, list, new.target);
  }
  define(Date, 'prototype', DateBase.prototype, false, false);
  define(DateBase.prototype, 'constructor', Date, true, false);
  define(Date, 'parse', DateBase.parse, true, false);
  define(Date, 'UTC', DateBase.UTC, true, false);
  define(Date, 'now', refused('Date.now()', PASS_TIME), true, false);
  define(Math, 'random', refused('Math.random()', 'pass a seed in through args, or derive the choice from the item'), true, false);
  define(globalThis, 'Date', Date, true, false);

  const absent = ['performance', 'crypto', 'navigator', 'WeakRef', 'FinalizationRegistry', 'Atomics', 'SharedArrayBuffer', 'gc'];
  for (let i = 0; i < absent.length; i++) delete globalThis[absent[i]];

  // A formatter of stacks would be handed the functions on the stack, among them these.
  defineProperty(Error, 'prepareStackTrace', { __proto__: null, get: () => undefined, set: () => {}, enumerable: false, configurable: false });
  Error.stackTraceLimit = 32;

  // `await` and `then` consult these; fixed, they lead here and nowhere else.
  define(Promise.prototype, 'then', Promise.prototype.then, false, false);
  define(Promise.prototype, 'constructor', Promise, false, false);
  defineProperty(Promise, Symbol.species, { __proto__: null, value: Promise, writable: false, enumerable: false, configurable: false });

  const console = {
    log,
    info: log,
    debug: log,
    warn: (...values) => say(`warning: ${joined(values)}`),
    error: (...values) => say(`error: ${joined(values)}`),
  };

  const offer = (name, value) => define(globalThis, name, freeze(value), false, false);
  const offered = { __proto__: null, agent, agentResult, tool, workflow, gate, parallel, pipeline, phase, log, budget, console };
  for (const name in offered) offer(name, offered[name]);

  const phaseNow = () => currentPhase;
  const kit = {
    __proto__: null,
    AGENT, ask, gather, itemsOf, needFunction, notes, offer, phaseNow, resolvePlainly, uncurried, brief, encode, headline, kindOf, written,
  };

  return { __proto__: null, resolved, rejected, describe, encode, account, track, reportUnseen, kit };
}
