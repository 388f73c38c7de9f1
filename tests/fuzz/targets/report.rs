//! Reports: whatever a script returned, the three reports are written, are documents of their kinds, and hold nothing that a
//! terminal, a browser or a reader of Markdown would obey. Input: what the script returned, as JSON; after `---`, events;
//! after another, names of files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vespiary::report::coverage::Coverage;
use vespiary::report::record::Record;
use vespiary::report::{Answer, Report, html, markdown, sarif};
use vespiary_fuzz::parts;
use vespiary_kernel::event::Event;
use vespiary_kernel::json::Json;

fuzz_target!(|data: &[u8]| {
    let parts = parts(data);
    let Ok(value) = Json::parse(String::from_utf8_lossy(parts[0])) else { return };
    let mut folding = Record::fold("fuzz".parse().unwrap());
    for line in parts.get(1).map(|part| vespiary_fuzz::lines(part)).unwrap_or_default() {
        if let Ok(event) = serde_json::from_str::<Event>(&line) {
            folding.add(1_000, event);
        }
    }
    let named: Vec<String> = parts.get(2).map(|part| vespiary_fuzz::lines(part)).unwrap_or_default();
    let unread = named.len() as u64;
    let report = Report {
        record: folding.finish(),
        answer: Answer::of(Some(&value)),
        components: Vec::new(),
        changed: None,
        coverage: Some(Coverage { files: unread + 1, unread, named, partial: false }),
    };
    let page = html::render(&report).expect("a page");
    harmless(&page);
    for tag in page.split('<').skip(1) {
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(!matches!(&*name.to_lowercase(), "script" | "img" | "iframe" | "object" | "embed"), "<{name}");
    }
    harmless(&markdown::render(&report));
    let findings = sarif::render(&report).expect("a document");
    harmless(&findings);
    assert!(serde_json::from_str::<serde_json::Value>(&findings).is_ok(), "{findings}");
});

fn harmless(text: &str) {
    let hostile = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(hostile), "{:?}", text.lines().find(|line| line.contains(hostile)));
}
