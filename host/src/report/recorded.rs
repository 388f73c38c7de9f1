//! A report made again from the ledger alone: what a bundle carries. It is the same each time it is made, so it says nothing that
//! only the run itself knew.

use super::record::Record;
use super::{Answer, Component, Report, html, markdown, sarif};
use crate::exit::Trouble;
use std::collections::BTreeMap;
use std::fmt::Display;
use vespiary_fleet::changes::Changed;
use vespiary_kernel::event::{Event, Payload};
use vespiary_kernel::ids::RunId;
use vespiary_ledger::reader::Reader;

/// The report's files, by name.
pub fn files(reader: &Reader, run: &RunId) -> Result<BTreeMap<String, Vec<u8>>, Trouble> {
    let report = report(reader, run)?;
    let html = html::render(&report).map_err(|error| trouble(run, &error))?;
    let sarif = sarif::render(&report).map_err(|error| trouble(run, &error))?;
    let named = [("report.html", html), ("report.md", markdown::render(&report)), ("findings.sarif", sarif)];
    Ok(named.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect())
}

fn report(reader: &Reader, run: &RunId) -> Result<Report, Trouble> {
    let (mut folding, mut merged) = (Record::fold(run.clone()), None);
    for recorded in reader.events(run)? {
        let recorded = recorded?;
        if let Event::ChangesMerged { changes, conflicts, .. } = &recorded.event {
            merged = Some((changes.clone(), conflicts.clone()));
        }
        folding.add(u64::try_from(recorded.time_us).unwrap_or(0), recorded.event);
    }
    let record = folding.finish();
    let value = match &record.value {
        Some(payload) => reader.value(payload)?,
        None => None,
    };
    let changed = match merged {
        Some((changes, conflicts)) => {
            Some(Changed { changes: read(reader, run, &changes)?, conflicts: read(reader, run, &conflicts)? })
        }
        None => None,
    };
    let components = record.components.iter().map(|((name, digest), calls)| Component {
        name: name.clone(),
        version: String::new(),
        digest: digest.to_string(),
        calls: *calls,
    });
    Ok(Report { components: components.collect(), answer: Answer::of(value.as_ref()), changed, record, coverage: None })
}

fn read<T: serde::de::DeserializeOwned>(reader: &Reader, run: &RunId, payload: &Payload) -> Result<T, Trouble> {
    let json = reader.value(payload)?.ok_or_else(|| trouble(run, &"its changes were not kept"))?;
    json.read().map_err(|error| trouble(run, &error))
}

fn trouble(run: &RunId, why: &dyn Display) -> Trouble {
    Trouble::failed(
        format!("the report of {run} cannot be made"),
        why,
        format!("look at `vespiary runs show {run} --verify`"),
    )
}
