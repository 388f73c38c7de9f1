// Panels of agents, and what is made of many answers: batch, merge, verify, judge.
//
// Runs once, after prelude.js and before any script, under the rules written there. `kit` is what the two share; merging
// itself is done by the engine, on JSON text, where there are no prototypes to consult.
(host, kit) => {
  'use strict';

  const { AGENT, ask, gather, itemsOf, needFunction, notes, offer, phaseNow, resolvePlainly, uncurried } = kit;
  const { brief, encode, headline, kindOf, written } = kit;
  const { cutReason, emitVerdict, merge: mergeText, settleSeat } = host;
  const { hasOwn, keys, setPrototypeOf } = Object;
  const { isArray } = Array;
  const { isInteger } = Number;
  const { parse, stringify } = JSON;
  const then = uncurried(Promise.prototype.then);
  const sort = uncurried(Array.prototype.sort);
  const toWellFormed = uncurried(String.prototype.toWellFormed);
  const TypeErrorBase = TypeError;
  const PromiseBase = Promise;
  const arrayPrototype = Array.prototype;

  const PANEL_MAX = 9;
  const PANEL = 3; // voters or judges, where a script does not say
  const SCORE_MAX = 100;

  // --- what a script hands over ---------------------------------------------------------------------------------

  const bare = () => setPrototypeOf([], null);
  const dressed = (list) => setPrototypeOf(list, arrayPrototype);

  // The script's own fields of an options object, each read once; unknown names are refused, null means not given.
  const fieldsOf = (what, options, known) => {
    const fields = { __proto__: null };
    if (options === undefined || options === null) return fields;
    if (typeof options !== 'object' || isArray(options)) {
      throw new TypeErrorBase(`${what}: the options must be an object, not ${kindOf(options)}`);
    }
    const names = keys(options);
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      if (!hasOwn(known, name)) {
        let list = '';
        for (const each in known) list += `${list === '' ? '' : ', '}${each}`;
        throw new TypeErrorBase(`${what}: there is no option \`${name}\`; the options are ${list}`);
      }
      const value = options[name];
      if (value !== null) fields[name] = value;
    }
    return fields;
  };

  const wholeOf = (what, name, value, most, fallback) => {
    if (value === undefined && fallback !== undefined) return fallback;
    if (isInteger(value) && value >= 1 && value <= most) return value;
    const range = most === Infinity ? ', at least 1' : ` from 1 to ${most}`;
    throw new TypeErrorBase(`${what}: the ${name} must be a whole number${range}; it is ${typeof value === 'number' ? value : kindOf(value)}`);
  };

  const textOf = (what, value) => {
    if (typeof value === 'string' && value !== '') return toWellFormed(value);
    throw new TypeErrorBase(`${what} must be a string that is not empty, not ${value === '' ? "''" : kindOf(value)}`);
  };

  // --- pure functions -------------------------------------------------------------------------------------------

  const batch = (items, size) => {
    const list = itemsOf('batch(items, size)', items, Infinity);
    wholeOf('batch(items, size)', 'size', size, Infinity);
    const chunks = bare();
    let count = 0;
    for (let start = 0; start < list.length; start += size) {
      const chunk = bare();
      for (let i = 0; i < size && start + i < list.length; i++) chunk[i] = list[start + i];
      chunks[count++] = dressed(chunk);
    }
    return dressed(chunks);
  };

  const MERGE_OPTIONS = { __proto__: null, key: 0 };
  const merge = (values, strategy, options) => {
    const what = 'merge(values, strategy, options)';
    const list = itemsOf(what, values, Infinity);
    const name = textOf(`${what}: the strategy`, strategy);
    const { key } = fieldsOf(what, options, MERGE_OPTIONS);
    const by = key === undefined ? undefined : textOf(`${what}: the option key`, key);
    return parse(mergeText(encode(list, "merge()'s values"), name, by));
  };

  // --- panels ---------------------------------------------------------------------------------------------------

  // Whether an agent could not be paid for. Others will not be either, so a panel ends with it.
  const overBudget = (error) => {
    try {
      return hasOwn(error, 'code') && error.code === 'over-budget';
    } catch {
      return false;
    }
  };

  // JSON text, since that is how a schema travels.
  const objectSchema = (properties, required) =>
    `{"type":"object","properties":{${properties}},"required":[${required}],"additionalProperties":false}`;

  // The options of a panel's agents. Asked for once before any agent is, so that a wrong one starts nothing.
  const seating = (panel, agent, schema) => {
    const what = `${panel}(): the option agent`;
    const text = written(what, agent, "{ agentType: 'reviewer' }", what);
    const seat = (place) => settleSeat(panel, text, phaseNow(), place, schema);
    seat('');
    return seat;
  };

  // Ask one seat and keep what `read` makes of the answer. Whoever gives none is reported by `absent`.
  const hear = async (prompt, options, entry, { keep, absent, fail }) => {
    try {
      keep(await ask(AGENT, prompt, options, entry));
    } catch (error) {
      if (overBudget(error)) fail(error);
      else absent(error);
    }
  };

  // --- verify ---------------------------------------------------------------------------------------------------

  const VERIFY_OPTIONS = { __proto__: null, voters: 0, quorum: 0, prompt: 0, agent: 0, lenses: 0 };
  const VOTE = objectSchema('"affirms":{"type":"boolean"},"reason":{"type":"string"}', '"affirms","reason"');

  const claimOf = (what, claim, index) => {
    if (typeof claim === 'string') return textOf(`${what}: claim [${index}]`, claim);
    if (claim === null || typeof claim !== 'object' || isArray(claim) || !hasOwn(claim, 'claim')) {
      throw new TypeErrorBase(`${what}: claim [${index}] must be a string, or an object with a string \`claim\`; it is ${kindOf(claim)}`);
    }
    return textOf(`${what}: claim [${index}].claim`, claim.claim);
  };

  const refutation = (claim, text, index) => {
    const whole = typeof claim === 'string' ? '' : `\n\nAs it was reported: ${encode(claim, `verify()'s claim [${index}]`)}`;
    return 'Try to refute the claim below. Look for yourself; that it sounds right proves nothing. Affirm it only if you found what '
      + 'supports it and could not refute it, deny it if it is wrong or nothing supports it, and say why in a sentence or two.'
      + `\n\nClaim: ${text}${whole}`;
  };

  const lensesOf = (what, lenses) => {
    if (lenses === undefined) return undefined;
    const list = itemsOf(`${what}: the option lenses`, lenses, PANEL_MAX);
    for (let i = 0; i < list.length; i++) list[i] = textOf(`${what}: lens [${i}]`, list[i]);
    return list;
  };

  const missingVote = (reason) => ({ affirms: null, reason });
  const voteOf = (answer) => {
    if (answer === null || typeof answer !== 'object') return missingVote('no answer');
    const affirms = hasOwn(answer, 'affirms') ? answer.affirms : undefined;
    if (typeof affirms !== 'boolean') return missingVote('the answer does not say whether it affirms');
    const reason = hasOwn(answer, 'reason') ? answer.reason : '';
    return { affirms, reason: typeof reason === 'string' ? reason : '' };
  };

  // Tells the host, and gives what the script gets for one claim.
  const conclude = (claim, text, votes, quorum) => {
    let affirmed = 0;
    let denied = 0;
    const recorded = bare();
    for (let i = 0; i < votes.length; i++) {
      const { affirms, reason } = votes[i];
      if (affirms === true) affirmed++;
      if (affirms === false) denied++;
      recorded[i] = { __proto__: null, affirms, reason: cutReason(toWellFormed(reason)) };
    }
    const verdict = affirmed >= quorum ? 'verified' : denied >= quorum ? 'refuted' : 'unverified';
    emitVerdict(verdict, text, stringify(recorded));
    return { claim, verdict, votes, affirmed, denied, missing: votes.length - affirmed - denied };
  };

  const verify = (claims, options) => {
    const what = 'verify(claims, options)';
    const list = itemsOf(what, claims);
    const given = fieldsOf(what, options, VERIFY_OPTIONS);
    const lenses = lensesOf(what, given.lenses);
    const voters = wholeOf(what, 'option voters', given.voters ?? lenses?.length, PANEL_MAX, PANEL);
    if (lenses !== undefined && lenses.length !== voters) {
      throw new TypeErrorBase(`${what}: ${lenses.length} lenses for ${voters} voters; give one for each`);
    }
    const quorum = wholeOf(what, 'option quorum', given.quorum, voters, (voters - (voters % 2)) / 2 + 1);
    const { prompt } = given;
    if (prompt !== undefined) needFunction(`${what}: the option prompt`, prompt);
    const seat = seating('verify', given.agent, VOTE);
    const texts = bare();
    for (let i = 0; i < list.length; i++) texts[i] = claimOf(what, list[i], i);
    const prompts = bare();
    for (let i = 0; i < list.length; i++) {
      prompts[i] = prompt === undefined
        ? refutation(list[i], texts[i], i)
        : textOf(`${what}: what prompt gives for claim [${i}]`, prompt(list[i], i));
    }

    const missed = notes('verify', 'votes are missing');
    return gather(list.length, async (index, results, fail) => {
      try {
        let broke = false;
        const votes = await gather(voters, (voter, put) => {
          const words = lenses === undefined ? prompts[index] : `${prompts[index]}\n\n${lenses[voter]}`;
          return hear(words, seat(`[${index}] voter ${voter + 1}`), verify, {
            keep: (answer) => { put[voter] = voteOf(answer); },
            absent: (error) => {
              put[voter] = missingVote(headline(error));
              missed.add(`claim [${index}] misses the vote of voter ${voter + 1}: it threw ${brief(error)}`);
            },
            fail: (error) => {
              broke = true;
              fail(error);
            },
          });
        }, () => {});
        if (!broke) results[index] = conclude(list[index], texts[index], votes, quorum);
      } catch (error) {
        fail(error);
      }
    }, missed.finish);
  };

  // --- judge ----------------------------------------------------------------------------------------------------

  const JUDGE_OPTIONS = { __proto__: null, criteria: 0, judges: 0, agent: 0 };

  const scoresOf = (answer, count) => {
    if (answer === null || typeof answer !== 'object' || !hasOwn(answer, 'scores')) return null;
    const { scores } = answer;
    if (!isArray(scores) || scores.length !== count) return null;
    for (let i = 0; i < count; i++) {
      if (typeof scores[i] !== 'number' || scores[i] < 0 || scores[i] > SCORE_MAX) return null;
    }
    return scores;
  };

  // `answers` holds the scores of each judge, or null.
  const ranked = (count, answers) => {
    const judges = answers.length;
    let missing = 0;
    for (let j = 0; j < judges; j++) if (answers[j] === null && count > 0) missing++;
    const ranking = bare();
    const tied = bare();
    if (missing < judges && count > 0) {
      for (let index = 0; index < count; index++) {
        const scores = bare();
        let sum = 0;
        for (let j = 0; j < judges; j++) {
          scores[j] = answers[j] === null ? null : answers[j][index];
          sum += scores[j];
        }
        ranking[index] = { index, score: sum / (judges - missing), scores: dressed(scores) };
      }
      sort(ranking, (a, b) => b.score - a.score || a.index - b.index);
      let ties = 1;
      while (ties < count && ranking[ties].score === ranking[0].score) ties++;
      for (let i = 0; ties > 1 && i < ties; i++) tied[i] = ranking[i].index;
    }
    const winner = ranking.length === 0 ? null : ranking[0].index;
    return { winner, ranking: dressed(ranking), judges, missing, tied: dressed(tied) };
  };

  const judge = (candidates, options) => {
    const what = 'judge(candidates, options)';
    const list = itemsOf(what, candidates);
    const count = list.length;
    const given = fieldsOf(what, options, JUDGE_OPTIONS);
    const criteria = textOf(`${what}: the option criteria`, given.criteria);
    const judges = wholeOf(what, 'option judges', given.judges, PANEL_MAX, PANEL);
    const scores = `{"type":"array","items":{"type":"number","minimum":0,"maximum":${SCORE_MAX}},"minItems":${count},"maxItems":${count}}`;
    const seat = seating('judge', given.agent, objectSchema(`"scores":${scores}`, '"scores"'));
    let words = `Score the candidates below, each from 0 to ${SCORE_MAX}, and give the scores in the order of the candidates. `
      + `Judge by this and nothing else: ${criteria}`;
    for (let i = 0; i < count; i++) {
      const shown = typeof list[i] === 'string' ? toWellFormed(list[i]) : encode(list[i], `judge()'s candidate [${i}]`);
      words += `\n\nCandidate ${i}:\n${shown}`;
    }

    const missed = notes('judge', 'judges are missing');
    const answers = gather(judges, async (index, results, fail) => {
      // Nobody needs to be asked about nothing.
      if (count === 0) return;
      await hear(words, seat(`${index + 1}`), judge, {
        keep: (answer) => { results[index] = scoresOf(answer, count); },
        absent: (error) => missed.add(`judge ${index + 1} is missing: it threw ${brief(error)}`),
        fail,
      });
    }, missed.finish);
    return new PromiseBase((resolve, reject) => {
      const close = async () => resolvePlainly(resolve, ranked(count, await answers));
      then(close(), undefined, reject);
    });
  };

  offer('batch', batch);
  offer('merge', merge);
  offer('verify', verify);
  offer('judge', judge);
}
