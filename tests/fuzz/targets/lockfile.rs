//! Lock files and advisories: whatever they hold, the agent answers, with findings or with words. Input: the name of a lock
//! file on the first line, its text; after `---`, advisories, one record a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use vespiary_fuzz::parts;
use vespiary_plugin_deps::deps;
use vespiary_sdk::Error;

fuzz_target!(|data: &[u8]| {
    let parts = parts(data);
    let lock = String::from_utf8_lossy(parts[0]);
    let (name, text) = lock.split_once('\n').unwrap_or((&lock, ""));
    if name.is_empty() || name.contains(['/', '\0']) {
        return;
    }
    let advisories = String::from_utf8_lossy(parts.get(1).copied().unwrap_or(b"")).into_owned();
    let files = [(name.to_owned(), text.to_owned()), ("osv.ndjson".to_owned(), advisories)];
    vespiary_sdk::dispatch::mock(move |tool, arguments| {
        let path = arguments["path"].as_str().unwrap_or(".");
        let file = files.iter().find(|(name, _)| name == path);
        match (tool, file) {
            ("files.read", Some((_, text))) => {
                let offset = (arguments["offset"].as_u64().unwrap_or(0) as usize).min(text.len());
                let end = text.len().min(offset + arguments["length"].as_u64().unwrap_or(1 << 20) as usize);
                let piece = String::from_utf8_lossy(&text.as_bytes()[offset..end]);
                Ok(
                    json!({ "path": path, "size": text.len(), "encoding": "utf-8", "text": piece, "offset": offset, "bytes": end - offset }),
                )
            }
            ("files.stat", Some((_, text))) => Ok(json!({ "path": path, "kind": "file", "size": text.len() })),
            ("files.glob", _) => {
                let all =
                    files[..1].iter().map(|(name, text)| json!({ "path": name, "kind": "file", "size": text.len() }));
                Ok(json!({ "entries": all.collect::<Vec<_>>(), "skipped": [], "truncated": false }))
            }
            _ => Err(Error::not_found(path)),
        }
    });
    let context = json!({ "files": [name], "advisories": "osv.ndjson" });
    let scan = run(&context);
    // Whatever it found, it is asked to refute.
    for finding in scan["findings"].as_array().into_iter().flatten().take(4) {
        run(&json!({ "mode": "refute", "finding": finding, "advisories": "osv.ndjson" }));
    }
});

fn run(context: &serde_json::Value) -> serde_json::Value {
    let task = vespiary_sdk::agent::RawTask { prompt: String::new(), context: context.to_string(), schema: None };
    match <deps as vespiary_sdk::agent::Agent>::ENTRY.run(task) {
        Ok(text) => serde_json::from_str(&text).expect("an answer is JSON"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            serde_json::Value::Null
        }
    }
}
