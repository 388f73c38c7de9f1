//! Following one form of a secret through a text, byte by byte, however each byte is written. A walk that comes to the end of a
//! piece goes on where it was when the next comes: no text is read again because it came in many pieces.

use super::escapes::{Readings, begins_escape, means};

/// Bytes that are looked at before a walk begins. Most places that begin like a form are something else, and show it here.
const PLAIN_LOOKED_AT: usize = 8;

/// How far a form was followed from the place where it may begin.
pub(super) struct Walk {
    /// Which form.
    pub(super) form: usize,
    /// Bytes of the form that were found.
    found: usize,
    /// Where they may end. More than one only where a form holds bytes that begin escapes: `%25` may be `%`, or three bytes. So
    /// there are never more than a few times as many as the longest run of those in the form.
    ends: Vec<usize>,
}

/// What is known of a walk.
pub(super) enum Step {
    /// All of the form is there; it ends here.
    Whole(usize),
    /// So far so good.
    Part,
    /// It is something else.
    Lost,
}

impl Walk {
    /// A walk of the form `form`, which reads `text`, unless the start of `rest` already shows that it is something else.
    pub(super) fn of(form: usize, text: &[u8], rest: &[u8]) -> Option<Self> {
        let plain = rest.iter().take_while(|written| !begins_escape(**written)).take(PLAIN_LOOKED_AT);
        plain.zip(text).all(|(written, byte)| means(*written, *byte)).then(|| Self { form, found: 0, ends: vec![0] })
    }

    /// Go on through `rest`, which begins where it did before, and is no shorter. Unless it `is_last`, more may follow.
    pub(super) fn follow(&mut self, text: &[u8], rest: &[u8], is_last: bool) -> Step {
        while let Some(&wanted) = text.get(self.found) {
            #[cfg(test)]
            STEPS.with(|steps| steps.set(steps.get() + 1));
            // Nearly always there is one way to read on.
            if let [end] = &mut self.ends[..]
                && let Some(&written) = rest.get(*end)
                && !begins_escape(written)
            {
                if !means(written, wanted) {
                    return Step::Lost;
                }
                *end += 1;
                self.found += 1;
                continue;
            }
            let mut ends = Vec::new();
            for &end in &self.ends {
                let readings = Readings::of(&rest[end..], is_last);
                if readings.is_cut {
                    return Step::Part;
                }
                ends.extend(readings.iter().filter(|(read, _)| means(*read, wanted)).map(|(_, length)| end + length));
            }
            ends.sort_unstable();
            ends.dedup();
            if ends.is_empty() {
                return Step::Lost;
            }
            self.ends = ends;
            self.found += 1;
        }
        // The last is the longest.
        self.ends.last().map_or(Step::Lost, |end| Step::Whole(*end))
    }
}

#[cfg(test)]
thread_local! {
    /// Bytes of forms that were looked for: what scrubbing costs.
    pub(super) static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
