//! A watch over what a server's program writes: a line that is too long, or far too much of anything, ends it. The protocol's own
//! reader would go on for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

/// The longest line, which is one message, bytes.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;
/// How long what is written is counted before the count begins again.
const WINDOW: Duration = Duration::from_secs(5);
/// Bytes in that time.
const WINDOW_BYTES_MAX: usize = 256 << 20;
/// Lines in that time.
const WINDOW_LINES_MAX: usize = 20_000;

/// Reads on while the measure holds. After that it gives an end, and `why` says why.
pub(crate) struct Guarded<R> {
    inner: R,
    line: usize,
    since: Instant,
    bytes: usize,
    lines: usize,
    over: Box<dyn Fn(String) + Send + Sync>,
    ended: bool,
}

impl<R> Guarded<R> {
    /// `over` is told once why nothing more is read.
    pub(crate) fn new(inner: R, over: impl Fn(String) + Send + Sync + 'static) -> Self {
        let since = Instant::now();
        Self { inner, line: 0, since, bytes: 0, lines: 0, over: Box::new(over), ended: false }
    }

    fn count(&mut self, piece: &[u8]) -> Result<(), String> {
        if self.since.elapsed() > WINDOW {
            (self.since, self.bytes, self.lines) = (Instant::now(), 0, 0);
        }
        self.bytes += piece.len();
        let mut parts = piece.split(|byte| *byte == b'\n');
        self.line += parts.next().map_or(0, <[u8]>::len);
        let mut longest = self.line;
        for part in parts {
            self.lines += 1;
            self.line = part.len();
            longest = longest.max(self.line);
        }
        if longest > LINE_BYTES_MAX {
            return Err(format!("it wrote a line of more than {LINE_BYTES_MAX} bytes"));
        }
        let seconds = WINDOW.as_secs();
        if self.lines > WINDOW_LINES_MAX {
            return Err(format!("it wrote more than {WINDOW_LINES_MAX} lines within {seconds} s"));
        }
        if self.bytes > WINDOW_BYTES_MAX {
            return Err(format!("it wrote more than {WINDOW_BYTES_MAX} bytes within {seconds} s"));
        }
        Ok(())
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Guarded<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read {
            let piece = &buf.filled()[before..];
            if let Err(why) = self.count(piece) {
                buf.set_filled(before);
                self.ended = true;
                (self.over)(why);
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::io::AsyncReadExt as _;

    /// What is read of `bytes`, and what was said.
    async fn read(bytes: Vec<u8>) -> (usize, Option<String>) {
        let said: Arc<Mutex<Option<String>>> = Arc::default();
        let told = Arc::clone(&said);
        let mut guarded = Guarded::new(io::Cursor::new(bytes), move |why| *told.lock().unwrap() = Some(why));
        let mut all = Vec::new();
        guarded.read_to_end(&mut all).await.unwrap();
        let why = said.lock().unwrap().take();
        (all.len(), why)
    }

    #[tokio::test]
    async fn a_line_may_be_long_and_not_longer() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX];
        bytes.push(b'\n');
        assert_eq!(read(bytes.clone()).await, (LINE_BYTES_MAX + 1, None));
        bytes.insert(0, b'x');
        let (read, why) = read(bytes).await;
        assert!(read <= LINE_BYTES_MAX && why.unwrap().contains("a line of more than"), "{read}");
    }

    #[tokio::test]
    async fn a_flood_of_short_lines_ends() {
        assert_eq!(read(b"{}\n".repeat(WINDOW_LINES_MAX)).await.1, None);
        assert!(read(b"{}\n".repeat(WINDOW_LINES_MAX + 1_000)).await.1.unwrap().contains("lines within"));
    }
}
