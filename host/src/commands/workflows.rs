//! `vespiary workflows`: what can be run by name. Each file is shown to the engine, so that a broken one is seen here and not
//! first when somebody needs it.
//!
//! `--json`: `{schema: "vespiary.workflows/1", places, workflows: [{name, description, when_to_use, path, hides, error}]}`.

use super::{print_json, print_out, table};
use crate::cli::{Output, Permissions};
use crate::examine::Examiner;
use crate::exit::{Exit, Trouble};
use crate::paths::Home;
use crate::terminal::{Style, clipped, line};
use crate::wiring;
use crate::workflows::{Known, Shelves};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What of `meta` is listed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    description: String,
    when_to_use: Option<String>,
}

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    known: Known,
    description: Option<String>,
    when_to_use: Option<String>,
    /// Why it cannot be run.
    error: Option<String>,
}

#[derive(Serialize)]
struct Shape<'a> {
    schema: &'static str,
    places: &'a [PathBuf],
    workflows: &'a [Line],
}

pub(super) fn list(dir: &Path, policy: Option<&Path>, output: Output) -> Result<Exit, Trouble> {
    let root = wiring::project(dir)?;
    let home = Home::locate()?;
    let shelves = Shelves::of(&root, &home);
    let known = shelves.known();
    let mut lines = Vec::with_capacity(known.len());
    if !known.is_empty() {
        let rules = wiring::rules(&home, policy, &root, &Permissions::default())?;
        let shelf = wiring::shelf(&Permissions::default(), &rules)?;
        let mut examiner = Examiner::new(&home, shelf, rules, root)?;
        for known in known {
            lines.push(describe(&shelves, &mut examiner, known));
        }
    }
    let places = shelves.places();
    if output.json {
        print_json(&Shape { schema: "vespiary.workflows/1", places: &places, workflows: &lines })?;
    } else {
        print_out(&as_text(&places, &lines))?;
    }
    Ok(Exit::Done)
}

fn describe(shelves: &Shelves, examiner: &mut Examiner, known: Known) -> Line {
    let read = shelves.find(Path::new(&known.name)).map_err(|trouble| trouble.why);
    let meta = read.and_then(|script| match examiner.examine(&script.source) {
        Ok(Ok(meta)) => meta.read::<Meta>().map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(failure) => Err(failure.to_string()),
    });
    match meta {
        Ok(Meta { description, when_to_use }) => {
            Line { known, description: Some(description), when_to_use, error: None }
        }
        Err(error) => Line { known, description: None, when_to_use: None, error: Some(error) },
    }
}

fn as_text(places: &[PathBuf], lines: &[Line]) -> String {
    let style = Style::of_stdout();
    let head = ["NAME", "FILE", "WHAT IT DOES"].map(str::to_owned).to_vec();
    let rows = lines.iter().map(|known| {
        let what = match (&known.description, &known.error) {
            (Some(description), _) => clipped(description, 100),
            (None, error) => style.red(&format!("broken: {}", clipped(error.as_deref().unwrap_or_default(), 100))),
        };
        vec![known.known.name.clone(), line(&known.known.path.display().to_string()).into_owned(), what]
    });
    let mut out = table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    for known in lines.iter().filter(|known| !known.known.hides.is_empty()) {
        let hidden: Vec<_> =
            known.known.hides.iter().map(|path| line(&path.display().to_string()).into_owned()).collect();
        out.push_str(&format!("\n{} is also in {}, which is not looked at", known.known.name, hidden.join(", ")));
    }
    let places: Vec<_> = places.iter().map(|place| line(&place.display().to_string()).into_owned()).collect();
    out.push_str(&format!("\nYour own go into {}", places.join(" or ")));
    out
}
