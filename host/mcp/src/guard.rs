//! A watch over a server's streams: a line that is too long, far too much of anything, or a refusal to read what it is sent ends it.
//! The protocol's own reader and writer would go on, or wait, for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The longest line, which is one message, bytes.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;
/// How long what is written is counted before the count begins again.
const WINDOW: Duration = Duration::from_secs(5);
/// Bytes in that time.
const WINDOW_BYTES_MAX: usize = 256 << 20;
/// Lines in that time.
const WINDOW_LINES_MAX: usize = 20_000;

/// How long a server may leave what it is sent unread.
const UNREAD_TIME_MAX: Duration = Duration::from_secs(5);

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

/// Writes while the other side reads. After that it gives errors, and `why` says why.
pub(crate) struct Heard<W> {
    inner: W,
    waiting: Option<Pin<Box<Sleep>>>,
    over: Box<dyn Fn(String) + Send + Sync>,
}

impl<W> Heard<W> {
    /// `over` is told once why nothing more is written.
    pub(crate) fn new(inner: W, over: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self { inner, waiting: None, over: Box::new(over) }
    }

    /// What came of an attempt, or that it has been tried for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, came: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if came.is_ready() {
            self.waiting = None;
            return came;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(UNREAD_TIME_MAX)));
        if waiting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        (self.over)(format!("it did not read what it was sent for {UNREAD_TIME_MAX:?}"));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Heard<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let came = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, came)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, came)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

    #[tokio::test(start_paused = true)]
    async fn what_is_not_read_is_not_written_for_ever() {
        let said: Arc<Mutex<Option<String>>> = Arc::default();
        let told = Arc::clone(&said);
        let (near, mut far) = tokio::io::duplex(8);
        let mut heard = Heard::new(near, move |why| *told.lock().unwrap() = Some(why));
        heard.write_all(b"12345678").await.unwrap();
        let reading = tokio::spawn(async move {
            tokio::time::sleep(UNREAD_TIME_MAX - Duration::from_secs(1)).await;
            far.read_exact(&mut [0; 8]).await.unwrap();
            far
        });
        heard.write_all(b"12345678").await.expect("it was read in time");
        let _far = reading.await.unwrap();
        assert_eq!(*said.lock().unwrap(), None);
        assert_eq!(heard.write_all(b"1").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(said.lock().unwrap().take().unwrap().contains("did not read"));
    }

    #[tokio::test]
    async fn a_flood_of_short_lines_ends() {
        assert_eq!(read(b"{}\n".repeat(WINDOW_LINES_MAX)).await.1, None);
        assert!(read(b"{}\n".repeat(WINDOW_LINES_MAX + 1_000)).await.1.unwrap().contains("lines within"));
    }
}
