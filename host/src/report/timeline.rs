//! Where each agent stands on the picture of time: pure geometry, in pixels. The HTML writer draws it.

use super::record::Record;

/// Width of the drawn time axis.
pub const WIDTH: f64 = 960.0;
/// Bars drawn at most; of a larger fleet the longest are kept.
const BARS_MAX: usize = 2_000;
/// The rows shall not be higher than this together.
const ROWS_HEIGHT: f64 = 360.0;

/// The picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// Phases as bands.
    pub bands: Vec<Band>,
    /// Agents as bars.
    pub bars: Vec<Bar>,
    /// Marks on the axis.
    pub ticks: Vec<Tick>,
    /// Agents that were left out.
    pub left_out: usize,
    /// Height of the whole picture.
    pub height: f64,
    /// Where the rows end and the axis begins.
    pub axis_y: f64,
}

/// A phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// Its title.
    pub title: String,
    /// Left edge.
    pub x: f64,
    /// Width.
    pub width: f64,
    /// Which colour, counted from 0.
    pub hue: usize,
    /// Whether there is room for its title.
    pub labelled: bool,
}

/// An agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What to say of it.
    pub title: String,
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width, at least a visible sliver.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// The colour of its phase.
    pub hue: usize,
    /// Whether it failed.
    pub failed: bool,
}

/// A mark on the axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Where.
    pub x: f64,
    /// What it says.
    pub label: String,
}

/// Distinct colours for phases; later phases begin again.
const HUES: usize = 6;
const BANDS_HEIGHT: f64 = 26.0;

/// Lay out `record`.
pub fn of(record: &Record) -> Timeline {
    let total = record.duration_us().max(1) as f64;
    let x = |us: u64| (us as f64 / total * WIDTH).clamp(0.0, WIDTH);
    let bands = record.phases.iter().enumerate().map(|(i, phase)| {
        let (from, width) = (x(phase.from_us), (x(phase.to_us) - x(phase.from_us)).max(0.0));
        let labelled = width > 8.0 + 7.0 * phase.title.chars().count() as f64;
        Band { title: phase.title.clone(), x: from, width, hue: i % HUES, labelled }
    });
    let bands: Vec<_> = bands.collect();

    let end = record.duration_us();
    let mut shown: Vec<_> = record
        .agents
        .iter()
        .map(|agent| (agent.from_us, agent.to_us.unwrap_or(end).max(agent.from_us), agent))
        .collect();
    let left_out = shown.len().saturating_sub(BARS_MAX);
    if left_out > 0 {
        shown.sort_by_key(|(from, to, _)| std::cmp::Reverse(to - from));
        shown.truncate(BARS_MAX);
    }
    shown.sort_by_key(|(from, _, agent)| (*from, agent.id));
    let rows = rows(shown.iter().map(|(from, to, _)| (*from, *to)));
    let row_count = rows.iter().max().map_or(0, |row| row + 1);
    let pitch = if row_count == 0 { 0.0 } else { (ROWS_HEIGHT / row_count as f64).clamp(3.0, 16.0) };
    let bars = shown.iter().zip(&rows).map(|((from, to, agent), row)| {
        let fate = match (&agent.failure, agent.to_us) {
            (Some(failure), _) => format!("failed: {failure}"),
            (None, None) => "did not end".to_owned(),
            (None, Some(_)) => super::count(agent.calls, "call"),
        };
        Bar {
            title: format!(
                "{} ({}, {}): {}; {fate}",
                agent.label,
                agent.id,
                agent.agent_type,
                super::duration(to - from)
            ),
            x: x(*from),
            y: BANDS_HEIGHT + 8.0 + *row as f64 * pitch,
            width: (x(*to) - x(*from)).max(1.5),
            height: (pitch - 1.0).max(2.0),
            hue: agent.phase.unwrap_or(0) % HUES,
            failed: agent.failure.is_some() || agent.to_us.is_none(),
        }
    });
    let axis_y = BANDS_HEIGHT + 8.0 + row_count as f64 * pitch + 4.0;
    Timeline {
        bands,
        bars: bars.collect(),
        ticks: ticks(record.duration_us()),
        left_out,
        height: axis_y + 22.0,
        axis_y,
    }
}

/// The first row in which each interval finds room. Intervals are sorted by their start.
fn rows(intervals: impl Iterator<Item = (u64, u64)>) -> Vec<usize> {
    let mut free_from: Vec<u64> = Vec::new();
    intervals
        .map(|(from, to)| {
            let row = free_from.iter().position(|free| *free <= from).unwrap_or(free_from.len());
            if row == free_from.len() {
                free_from.push(0);
            }
            // An agent that took no measurable time still has a place of its own.
            free_from[row] = to.max(from + 1);
            row
        })
        .collect()
}

/// Five to ten round marks.
fn ticks(total_us: u64) -> Vec<Tick> {
    let total = total_us.max(1);
    let mut step = 1u64;
    // 1, 2, 5, 10, 20, 50, ...
    for factor in [2, 5, 10].into_iter().cycle() {
        if total / step <= 10 {
            break;
        }
        step = match factor {
            2 => step * 2,
            5 => step / 2 * 5,
            _ => step * 2,
        };
    }
    (0..=total / step)
        .map(|i| Tick {
            x: (i * step) as f64 / total as f64 * WIDTH,
            label: if i == 0 { "0".into() } else { super::duration(i * step) },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::record;
    use super::*;

    #[test]
    fn bars_that_overlap_in_time_never_share_a_row() {
        let timeline = of(&record::tests::sample());
        assert_eq!(timeline.bars.len(), 6);
        for (i, a) in timeline.bars.iter().enumerate() {
            assert!(a.x >= 0.0 && a.x + a.width <= WIDTH + 2.0 && a.y + a.height <= timeline.axis_y);
            for b in &timeline.bars[i + 1..] {
                let apart = a.x + a.width <= b.x + 1.5 || b.x + b.width <= a.x + 1.5;
                assert!(apart || (a.y - b.y).abs() > 1.0, "{a:?} {b:?}");
            }
        }
        assert!(timeline.bars.iter().filter(|bar| bar.failed).count() == 1);
    }

    #[test]
    fn rows_are_reused() {
        assert_eq!(rows([(0, 10), (5, 15), (10, 20), (15, 16)].into_iter()), [0, 1, 0, 1]);
        assert_eq!(rows([(3, 3), (3, 3), (4, 4)].into_iter()), [0, 1, 0]);
    }

    #[test]
    fn marks_are_round_and_few() {
        for total in [1, 999, 50_000, 1_234_567, 61_000_000, 7_200_000_000] {
            let ticks = ticks(total);
            assert!((2..=11).contains(&ticks.len()), "{total}: {ticks:?}");
            assert!(ticks.iter().all(|tick| tick.x <= WIDTH + 0.01));
        }
    }
}
