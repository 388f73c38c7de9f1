//! A question for the person, as a form that a client shows, and what its answer says. Only a box that was ticked is a yes.

use rmcp::model::{ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;
use vespiary_kernel::policy::Answer;

/// The member of an answer that says yes.
const ALLOW: &str = "allow";

/// The question as a form with one box.
pub(super) fn form(text: &str, yes_to: &'static str) -> ElicitRequestParams {
    let schema =
        ElicitationSchema::builder().required_bool_property(ALLOW, |allow| allow.title(yes_to).with_default(false));
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: text.to_owned(),
        requested_schema: schema.build_unchecked(),
    }
}

/// What the person said. Only a box that was ticked is a yes.
pub(super) fn answer(result: &ElicitResult) -> Answer {
    let ticked = result.content.as_ref().and_then(|content| content.get(ALLOW)).and_then(Value::as_bool);
    match (&result.action, ticked) {
        (ElicitationAction::Accept, Some(true)) => Answer::Yes,
        (ElicitationAction::Accept, Some(false)) | (ElicitationAction::Decline, _) => Answer::No,
        (ElicitationAction::Accept, None) => Answer::Nobody("the client's answer has neither yes nor no".into()),
        _ => Answer::Nobody("the person did not answer".into()),
    }
}

/// Whether the client can show a form to a person.
pub(super) fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    let able = context.client_capabilities().and_then(|able| able.elicitation);
    // One that names no mode has only forms.
    able.is_some_and(|able| able.form.is_some() || able.url.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_ticked_box_is_a_yes() {
        let said = |action, content: Option<Value>| {
            let result = ElicitResult::new(action);
            answer(&match content {
                Some(content) => result.with_content(content),
                None => result,
            })
        };
        assert_eq!(said(ElicitationAction::Accept, Some(json!({ "allow": true }))), Answer::Yes);
        assert_eq!(said(ElicitationAction::Accept, Some(json!({ "allow": false }))), Answer::No);
        assert_eq!(said(ElicitationAction::Decline, Some(json!({ "allow": true }))), Answer::No);
        for (action, content) in [
            (ElicitationAction::Accept, None),
            (ElicitationAction::Accept, Some(json!({ "allow": "true" }))),
            (ElicitationAction::Accept, Some(json!({ "Allow": true }))),
            (ElicitationAction::Cancel, Some(json!({ "allow": true }))),
        ] {
            assert!(matches!(said(action, content), Answer::Nobody(_)));
        }
    }
}
