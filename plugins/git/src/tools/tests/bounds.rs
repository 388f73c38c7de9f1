//! Answers that would be larger than a call may return are cut, and say so.

use super::{call, log, show};
use crate::fixture::Fixture;
use serde_json::{Value, json};

/// `result-bytes-max` of the plugin.
const RESULT_BYTES_MAX: usize = 33_554_432;

#[test]
fn answers_full_of_control_characters_are_cut_and_told() {
    let mut fixture = Fixture::new();
    let controls = [&[1; 999][..], b"\n"].concat().repeat(7 << 10);
    fixture.write("a", &controls);
    fixture.write("b", &controls[..3 << 20]);
    fixture.write("c", &controls[..3 << 20]);
    fixture.write("d", "small\n");
    fixture.commit("all");
    let fits = |answer: &Value| assert!(answer.to_string().len() < RESULT_BYTES_MAX, "{}", answer.to_string().len());
    let blob = call::<show::show>(json!({"rev": "HEAD:a", "max_bytes": 8 << 20})).unwrap();
    assert_eq!((&blob["truncated"], &blob["size"]), (&json!(true), &json!(controls.len())));
    assert!(blob["text"].as_str().unwrap().len() > 3 << 20);
    fits(&blob);
    let commit = call::<show::show>(json!({"rev": "HEAD", "max_bytes": 8 << 20})).unwrap();
    let omitted = |at: usize| commit["diff"]["files"][at]["patch_omitted"].as_bool().unwrap();
    // The first is too large to be compared by lines; of the others all that fit are in the patch.
    assert_eq!([omitted(1), omitted(2), omitted(3)], [false, true, false]);
    assert_eq!(commit["diff"]["truncated"], json!(true));
    fits(&commit);
    let message = "\u{1}".repeat(300_000);
    let tree = fixture.git(&["rev-parse", "HEAD^{tree}"]).trim().to_owned();
    let mut parent = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    for _ in 0..20 {
        let made = fixture.git_bytes(&["commit-tree", "-p", &parent, &tree, "-F", "-"], message.as_bytes());
        parent = String::from_utf8(made).unwrap().trim().to_owned();
    }
    let log = call::<log::log>(json!({"rev": parent})).unwrap();
    assert_eq!((&log["more"], &log["commits"][0]["truncated"]), (&json!(true), &json!(true)));
    assert_eq!(log["commits"].as_array().unwrap().len(), 15);
    fits(&log);
    let rest = call::<log::log>(json!({"rev": parent, "skip": 15})).unwrap();
    assert_eq!((rest["commits"].as_array().unwrap().len(), &rest["more"]), (6, &json!(false)));
}
