//! The shape of a run: script, phases, agents by type, tools, as columns of boxes and the flows between them. Pure geometry,
//! in pixels; the HTML writer draws it.

use super::record::Record;
use std::collections::BTreeMap;

/// Width of the picture.
pub const WIDTH: f64 = 960.0;
const BOX_WIDTH: f64 = 184.0;
const BOX_HEIGHT: f64 = 44.0;
const GAP: f64 = 14.0;
const COLUMNS: usize = 4;

/// The picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The boxes.
    pub nodes: Vec<Node>,
    /// The flows.
    pub edges: Vec<Edge>,
    /// Height of the whole picture.
    pub height: f64,
}

/// A box.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub title: String,
    /// How much of it there was.
    pub note: String,
    /// `script`, `phase`, `agents` or `tool`.
    pub kind: &'static str,
    /// Whether some of it failed.
    pub failed: bool,
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A flow, as an SVG path.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The path's `d`.
    pub path: String,
    /// The thicker, the more calls.
    pub width: f64,
    /// What it means.
    pub title: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Script,
    Phase(Option<usize>),
    Agents(Option<usize>, String),
    Tool(String),
}

impl Key {
    fn column(&self) -> usize {
        match self {
            Self::Script => 0,
            Self::Phase(_) => 1,
            Self::Agents(..) => 2,
            Self::Tool(_) => 3,
        }
    }
}

/// Lay out `record`.
pub fn of(record: &Record) -> Graph {
    let flows = flows(record);
    let mut keys: Vec<&Key> = flows.keys().flat_map(|(from, to)| [from, to]).collect();
    keys.push(&Key::Script);
    keys.sort();
    keys.dedup();
    let columns: Vec<Vec<&Key>> =
        (0..COLUMNS).map(|column| keys.iter().copied().filter(|key| key.column() == column).collect()).collect();
    let tallest = columns.iter().map(Vec::len).max().unwrap_or(1);
    let height = tallest as f64 * (BOX_HEIGHT + GAP) + GAP;
    let mut nodes = Vec::new();
    let mut places = BTreeMap::new();
    for (column, keys) in columns.iter().enumerate() {
        let x = column as f64 * (WIDTH - BOX_WIDTH) / (COLUMNS - 1) as f64;
        let free = height - keys.len() as f64 * (BOX_HEIGHT + GAP) + GAP;
        for (row, key) in keys.iter().enumerate() {
            let y = free / 2.0 + row as f64 * (BOX_HEIGHT + GAP);
            places.insert(*key, (x, y));
            nodes.push(node(record, key, x, y));
        }
    }
    let edges = flows.iter().filter_map(|((from, to), flow)| {
        let ((x1, y1), (x2, y2)) = (places.get(from)?, places.get(to)?);
        let (x1, y1, y2) = (x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2.0, y2 + BOX_HEIGHT / 2.0);
        let bend = (x2 - x1) / 2.0;
        let path = format!("M{x1:.1} {y1:.1}C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}", x1 + bend, x2 - bend);
        let width = (1.0 + (flow.amount.max(1) as f64).log10() * 2.2).min(11.0);
        Some(Edge { path, width, title: super::count(flow.amount, flow.unit) })
    });
    let edges = edges.collect();
    Graph { nodes, edges, height }
}

struct Flow {
    amount: u64,
    unit: &'static str,
}

fn flows(record: &Record) -> BTreeMap<(Key, Key), Flow> {
    let mut flows: BTreeMap<(Key, Key), Flow> = BTreeMap::new();
    let mut add = |from: Key, to: Key, amount: u64, unit: &'static str| {
        flows.entry((from, to)).or_insert(Flow { amount: 0, unit }).amount += amount;
    };
    for (i, _) in record.phases.iter().enumerate() {
        add(Key::Script, Key::Phase(Some(i)), 0, "step");
    }
    for agent in &record.agents {
        add(Key::Phase(agent.phase), Key::Agents(agent.phase, agent.agent_type.clone()), 1, "agent");
        add(Key::Script, Key::Phase(agent.phase), 1, "step");
    }
    for (used, count) in &record.uses {
        let tool = Key::Tool(used.tool.to_string());
        match &used.agent_type {
            Some(agent_type) => add(Key::Agents(used.phase, agent_type.clone()), tool, count.calls, "call"),
            None => {
                add(Key::Script, Key::Phase(used.phase), count.calls, "step");
                add(Key::Phase(used.phase), tool, count.calls, "call");
            }
        }
    }
    flows
}

fn node(record: &Record, key: &Key, x: f64, y: f64) -> Node {
    let (kind, title, note, failed) = match key {
        Key::Script => {
            ("script", record.title.clone(), super::count(record.calls.calls, "call"), record.error.is_some())
        }
        Key::Phase(phase) => {
            let note = match phase.and_then(|i| record.phases.get(i)) {
                Some(phase) => super::duration(phase.to_us.saturating_sub(phase.from_us)),
                None => "before any phase".into(),
            };
            ("phase", record.phase_title(*phase).to_owned(), note, false)
        }
        Key::Agents(phase, agent_type) => {
            let all = || record.agents.iter().filter(|a| a.phase == *phase && a.agent_type == *agent_type);
            let failed = all().filter(|agent| agent.failure.is_some()).count() as u64;
            let mut note = super::count(all().count() as u64, "agent");
            if failed > 0 {
                note.push_str(&format!(", {} failed", super::thousands(failed)));
            }
            ("agents", agent_type.clone(), note, failed > 0)
        }
        Key::Tool(tool) => {
            let all = || record.uses.iter().filter(|(used, _)| used.tool.as_str() == tool).map(|(_, count)| count);
            let failed: u64 = all().map(|count| count.failed).sum();
            let mut note = super::count(all().map(|count| count.calls).sum(), "call");
            if failed > 0 {
                note.push_str(&format!(", {} failed", super::thousands(failed)));
            }
            ("tool", tool.clone(), note, failed > 0)
        }
    };
    let title = crate::terminal::clipped(&title, 22);
    Node { title, note, kind, failed, x, y, width: BOX_WIDTH, height: BOX_HEIGHT }
}

#[cfg(test)]
mod tests {
    use super::super::record;
    use super::*;

    #[test]
    fn every_flow_joins_two_boxes_and_counts_are_kept() {
        let graph = of(&record::tests::sample());
        let kinds = |kind| graph.nodes.iter().filter(|node| node.kind == kind).count();
        assert_eq!((kinds("script"), kinds("phase"), kinds("agents"), kinds("tool")), (1, 2, 1, 2));
        assert_eq!(graph.edges.len(), 2 + 1 + 2);
        let agents = graph.nodes.iter().find(|node| node.kind == "agents").unwrap();
        assert_eq!((agents.note.as_str(), agents.failed), ("6 agents, 1 failed", true));
        assert!(graph.nodes.iter().all(|node| node.y >= 0.0 && node.y + node.height <= graph.height));
    }
}
