//! A host for tests: runs a script with answers made on the spot, and remembers what it asked for.

use serde_json::{Value, json};

use crate::bridge::{Action, Budget, Completion, Request, Settlement, Verdict};
use crate::engine::{Engine, State, Turn};
use crate::fault::Fault;

pub(super) const META: &str = "export const meta = { name: 'test', description: 'A test.' }\n";

/// What one script did from start to end.
pub(super) struct Run {
    pub(super) state: State,
    pub(super) requests: Vec<Request>,
    pub(super) steps: usize,
}

impl Run {
    pub(super) fn value(&self) -> Value {
        match &self.state {
            State::Done(json) => serde_json::from_str(json).expect("the result is JSON"),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn fault(&self) -> &Fault {
        match &self.state {
            State::Failed(fault) => fault,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn logs(&self) -> Vec<&str> {
        self.requests
            .iter()
            .filter_map(|request| if let Action::Log(line) = &request.action { Some(line.as_str()) } else { None })
            .collect()
    }

    /// Claims, verdicts and votes, in the order in which they were told.
    pub(super) fn verdicts(&self) -> Vec<(&str, Verdict, Value)> {
        let mut found = Vec::new();
        for request in &self.requests {
            if let Action::Verdict { claim, verdict, votes } = &request.action {
                found.push((claim.as_str(), *verdict, serde_json::from_str(votes).expect("votes are JSON")));
            }
        }
        found
    }

    /// Prompts and options of the agents, in order.
    pub(super) fn agents(&self) -> Vec<(&str, Value)> {
        let mut found = Vec::new();
        for request in &self.requests {
            if let Action::Agent { prompt, options, .. } = &request.action {
                found.push((prompt.as_str(), serde_json::from_str(options).expect("options are JSON")));
            }
        }
        found
    }
}

/// Run the body behind a minimal `meta`; `answer` settles each agent and tool call.
pub(super) fn run_with(body: &str, args: &Value, answer: impl Fn(&Request) -> Settlement) -> Run {
    run_source(&format!("{META}{body}"), args, answer)
}

pub(super) fn run_source(source: &str, args: &Value, answer: impl Fn(&Request) -> Settlement) -> Run {
    let mut engine = Engine::new().expect("an engine");
    let Turn { mut requests, mut state } = engine.start(source, &args.to_string(), Budget::default());
    let mut unanswered = requests.clone();
    let mut steps = 1;
    while state == State::Waiting {
        let completions = unanswered
            .iter()
            .filter(|request| request.action.is_answered())
            .map(|request| Completion { id: request.id, settlement: answer(request) })
            .collect();
        let turn = engine.step(completions, 0);
        requests.extend(turn.requests.iter().cloned());
        (unanswered, state) = (turn.requests, turn.state);
        steps += 1;
        assert!(steps < 10_000, "the script never ends");
    }
    Run { state, requests, steps }
}

/// Agents answer with their prompt, except `null` with null and `reject` with a refusal; tools with their arguments, workflows
/// with theirs, except one called `reject`.
pub(super) fn echo(request: &Request) -> Settlement {
    match &request.action {
        Action::Agent { prompt, .. } if prompt == "null" => Settlement::Resolved("null".to_owned()),
        Action::Agent { prompt: word, .. } | Action::Workflow { name: word, .. } if word == "reject" => {
            Settlement::Rejected {
                code: "denied".to_owned(),
                message: "agent() needs spawn:1".to_owned(),
                detail: r#"{"needed":"spawn:1"}"#.to_owned(),
            }
        }
        Action::Agent { prompt, .. } => Settlement::Resolved(json!(prompt).to_string()),
        Action::Tool { arguments: given, .. } | Action::Workflow { args: given, .. } => {
            Settlement::Resolved(given.clone())
        }
        Action::Gate(options) => Settlement::Resolved(options.clone()),
        Action::Phase(_) | Action::Log(_) | Action::Verdict { .. } => unreachable!("not answered"),
    }
}

/// The settlement of an agent that was refused with `code`.
pub(super) fn refusal(code: &str) -> Settlement {
    Settlement::Rejected { code: code.to_owned(), message: format!("{code}!"), detail: "null".to_owned() }
}

/// Votes and scores for panels; whatever else is asked is echoed. A prompt has a letter for each voter, in its last line:
/// `y` affirms, `n` denies, `0` is no answer, `?` no vote, `x` a refusal, `$` a budget that is spent.
pub(super) fn panelist(request: &Request) -> Settlement {
    let Action::Agent { prompt, options, status } = &request.action else { return echo(request) };
    if *status {
        return Settlement::Resolved(json!({"status": "ok", "value": prompt}).to_string());
    }
    let options: Value = serde_json::from_str(options).expect("options are JSON");
    let properties = &options["schema"]["properties"];
    if properties["scores"].is_object() {
        let count = properties["scores"]["minItems"].as_u64().expect("a count");
        return Settlement::Resolved(json!({"scores": (1..=count).collect::<Vec<_>>()}).to_string());
    }
    if !properties["affirms"].is_object() {
        return echo(request);
    }
    let seat: usize =
        options["label"].as_str().and_then(|label| label.rsplit(' ').next()?.parse().ok()).expect("a seat");
    let letters = prompt.lines().next_back().unwrap_or_default();
    let letter = letters.chars().nth(seat - 1).expect("a letter for each voter");
    match letter {
        'y' | 'n' => Settlement::Resolved(json!({"affirms": letter == 'y', "reason": format!("r{seat}")}).to_string()),
        '0' => Settlement::Resolved("null".to_owned()),
        'x' => refusal("limit"),
        '$' => refusal("over-budget"),
        _ => Settlement::Resolved(json!({"affirms": "yes"}).to_string()),
    }
}

pub(super) fn run(body: &str) -> Run {
    run_with(body, &Value::Null, echo)
}

/// The value a body returns.
pub(super) fn value(body: &str) -> Value {
    run(body).value()
}
