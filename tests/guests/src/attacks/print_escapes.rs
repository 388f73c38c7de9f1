//! Prints terminal escapes, carriage returns that overwrite, and bytes that are no text, to both streams, cut so that no
//! piece looks hostile alone. Not refused but disarmed: they arrive as lines that show what they were.

use vespiary_sdk::{Error, Result, tool};

/// Draws on the reader's screen, if it can.
#[tool]
pub fn print_escapes() -> Result<String> {
    let pieces: [&[u8]; 9] =
        [b"\x1b", b"[2", b"Jcleared ", b"\xc2", b"\x9b31m", b"\xff\xfe", b"\rover", b"\x00\x08\x7f", b"\xe2\x80\xae\n"];
    let (out, err) = (wasip2::cli::stdout::get_stdout(), wasip2::cli::stderr::get_stderr());
    for stream in [&out, &err] {
        for piece in pieces {
            stream.blocking_write_and_flush(piece).map_err(|_| Error::failed("stream: closed"))?;
        }
    }
    Ok("printed".into())
}
