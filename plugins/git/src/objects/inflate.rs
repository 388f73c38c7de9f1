//! Zlib streams, inflated as far as is asked and never further. What must never live here: whole-stream convenience that
//! believes a size.

use super::Broken;
use crate::disk::Source;
use flate2::{Decompress, FlushDecompress, Status};

/// Room made in one go. A file that claims a large size gets room only as its bytes come.
const STEP_BYTES: usize = 64 * 1024;

/// A zlib stream that begins at some offset of a file.
pub(super) struct Inflater<'a, S> {
    source: &'a S,
    offset: u64,
    state: Decompress,
    ended: bool,
}

impl<'a, S: Source> Inflater<'a, S> {
    pub(super) fn new(source: &'a S, offset: u64) -> Self {
        Self { source, offset, state: Decompress::new(true), ended: false }
    }

    /// Inflates until `out` has `until` bytes or the stream ends.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, until: usize) -> Result<(), Broken> {
        while out.len() < until && !self.ended {
            let step = (until - out.len()).min(STEP_BYTES);
            let piece = self.source.piece(self.offset)?;
            let (taken_before, made_before) = (self.state.total_in(), self.state.total_out());
            let len = out.len();
            out.resize(len + step, 0);
            let status = self.state.decompress(&piece, &mut out[len..], FlushDecompress::None);
            let taken = self.state.total_in() - taken_before;
            let made = self.state.total_out() - made_before;
            self.offset += taken;
            out.truncate(len + made as usize);
            let status = status.map_err(|error| Broken::why(format!("its compressed data is damaged ({error})")))?;
            match status {
                Status::StreamEnd => self.ended = true,
                _ if taken == 0 && made == 0 => {
                    return Err(Broken::why("its compressed data ends too early"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Inflates to exactly `size` bytes, and checks that the stream ends there.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, size: usize) -> Result<(), Broken> {
        self.fill(out, size)?;
        let len = out.len();
        // One byte more: a stream must be run to its end for its checksum to be looked at.
        self.fill(out, size.saturating_add(1))?;
        if len < size || out.len() > size {
            return Err(Broken::why(format!(
                "it says {size} bytes and inflates to {}",
                if len < size { "fewer" } else { "more" }
            )));
        }
        Ok(())
    }
}
