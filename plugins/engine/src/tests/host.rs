//! A host for tests: runs a script with answers made on the spot, and remembers what it asked for.

use serde_json::{Value, json};

use crate::bridge::{Action, Completion, Request, Settlement};
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

    /// Prompts and options of the agents, in order.
    pub(super) fn agents(&self) -> Vec<(&str, Value)> {
        let mut found = Vec::new();
        for request in &self.requests {
            if let Action::Agent { prompt, options } = &request.action {
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
    let Turn { mut requests, mut state } = engine.start(source, &args.to_string());
    let mut unanswered = requests.clone();
    let mut steps = 1;
    while state == State::Waiting {
        let asks = |request: &&Request| matches!(request.action, Action::Agent { .. } | Action::Tool { .. });
        let completions = unanswered
            .iter()
            .filter(asks)
            .map(|request| Completion { id: request.id, settlement: answer(request) })
            .collect();
        let turn = engine.step(completions);
        requests.extend(turn.requests.iter().cloned());
        (unanswered, state) = (turn.requests, turn.state);
        steps += 1;
        assert!(steps < 10_000, "the script never ends");
    }
    Run { state, requests, steps }
}

/// Agents answer with their prompt, except `null` with null and `reject` with a refusal; tools with their arguments.
pub(super) fn echo(request: &Request) -> Settlement {
    match &request.action {
        Action::Agent { prompt, .. } if prompt == "null" => Settlement::Resolved("null".to_owned()),
        Action::Agent { prompt, .. } if prompt == "reject" => Settlement::Rejected {
            code: "denied".to_owned(),
            message: "agent() needs spawn:1".to_owned(),
            detail: r#"{"needed":"spawn:1"}"#.to_owned(),
        },
        Action::Agent { prompt, .. } => Settlement::Resolved(json!(prompt).to_string()),
        Action::Tool { arguments, .. } => Settlement::Resolved(arguments.clone()),
        Action::Phase(_) | Action::Log(_) => unreachable!("not answered"),
    }
}

pub(super) fn run(body: &str) -> Run {
    run_with(body, &Value::Null, echo)
}

/// The value a body returns.
pub(super) fn value(body: &str) -> Value {
    run(body).value()
}
