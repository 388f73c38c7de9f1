//! Standard input and output as a client of the protocol holds them. Pipes are read and written by whoever waits, without a thread
//! in between that would have to be woken for every message. What must never happen here: changing a mode of a stream that other
//! processes hold as well.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::unix::pipe;

/// What is read from.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;

/// What is written to.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Both. A stream that is neither a pipe nor a socket, or cannot be had so, is taken as it is.
pub fn standard() -> (Input, Output) {
    (input("/proc/self/fd/0", std::io::stdin().as_fd()), output("/proc/self/fd/1", std::io::stdout().as_fd()))
}

// A stream must not block who waits for it, and whether it does belongs to everybody who holds the same opening of it: a shell, for
// one. A pipe can be opened once more, and then the mode is ours alone; a socket can be told with each read and write.

fn input(path: &str, stream: BorrowedFd<'_>) -> Input {
    let opened: io::Result<pipe::Receiver> = pipe::OpenOptions::new().open_receiver(path);
    if let Ok(pipe) = opened {
        return Box::new(pipe);
    }
    match Socket::new(stream, Interest::READABLE) {
        Ok(socket) => Box::new(socket),
        Err(_) => Box::new(tokio::io::stdin()),
    }
}

fn output(path: &str, stream: BorrowedFd<'_>) -> Output {
    let opened: io::Result<pipe::Sender> = pipe::OpenOptions::new().open_sender(path);
    if let Ok(pipe) = opened {
        return Box::new(pipe);
    }
    match Socket::new(stream, Interest::WRITABLE) {
        Ok(socket) => Box::new(socket),
        Err(_) => Box::new(tokio::io::stdout()),
    }
}

/// One way of a stream socket: some clients hold a pair of those in place of pipes.
struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    /// Fails for what is no stream socket.
    fn new(stream: BorrowedFd<'_>, interest: Interest) -> io::Result<Self> {
        if sockopt::socket_type(stream)? != rustix::net::SocketType::STREAM {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A number of our own: one and the same cannot be waited for twice, and both ways may be one socket.
        #[allow(
            deprecated,
            reason = "its successor is unsafe for values that may change their number; this one owns its own"
        )]
        AsyncFd::with_interest(stream.try_clone_to_owned()?, interest).map(Self)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let read = ready.try_io(|socket| Ok(recv(socket, into.initialize_unfilled(), RecvFlags::DONTWAIT)?.0));
            match read {
                Ok(Ok(n)) => {
                    into.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match ready.try_io(|socket| Ok(send(socket, bytes, flags)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => return Poll::Ready(done),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(self.0.get_ref(), Shutdown::Write).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, fcntl_getfl};
    use std::os::fd::AsRawFd as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_pipe_is_opened_anew_and_the_mode_of_the_other_opening_stays() {
        let (reader, writer) = std::io::pipe().unwrap();
        let path = |fd: i32| format!("/proc/self/fd/{fd}");
        let opened_reader = pipe::OpenOptions::new().open_receiver(path(reader.as_raw_fd())).unwrap();
        let opened_writer = pipe::OpenOptions::new().open_sender(path(writer.as_raw_fd())).unwrap();
        assert!(fcntl_getfl(&opened_reader).unwrap().contains(OFlags::NONBLOCK));
        drop((opened_reader, opened_writer));

        let from = input(&path(reader.as_raw_fd()), reader.as_fd());
        let (mut from, mut to) = (from, output(&path(writer.as_raw_fd()), writer.as_fd()));
        to.write_all(b"a line\n").await.unwrap();
        let mut got = [0; 7];
        from.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"a line\n");
        for fd in [fcntl_getfl(&reader).unwrap(), fcntl_getfl(&writer).unwrap()] {
            assert!(!fd.contains(OFlags::NONBLOCK), "somebody else's opening was changed");
        }

        // Hanging up is seen: the opening for reading holds no end for writing.
        drop((to, writer));
        assert_eq!(from.read(&mut got).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_socket_is_used_without_changing_its_mode_however_much_is_sent() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let path = format!("/proc/self/fd/{}", ours.as_raw_fd());
        let (mut from, mut to) = (input(&path, ours.as_fd()), output(&path, ours.as_fd()));
        // More than fits between the two ends, both ways at once.
        let much: Vec<u8> = (0..2 << 20).map(|n: u32| n as u8).collect();
        let other = std::thread::spawn({
            let (mut theirs, much) = (theirs.try_clone().unwrap(), much.clone());
            move || {
                let mut got = vec![0; much.len()];
                std::io::Read::read_exact(&mut theirs, &mut got).unwrap();
                assert_eq!(got, much);
                std::io::Write::write_all(&mut theirs, &got).unwrap();
            }
        });
        to.write_all(&much).await.unwrap();
        let mut got = vec![0; much.len()];
        from.read_exact(&mut got).await.unwrap();
        assert_eq!(got, much);
        other.join().unwrap();
        assert!(!fcntl_getfl(&ours).unwrap().contains(OFlags::NONBLOCK), "somebody else's opening was changed");
        drop(theirs);
        assert_eq!(from.read(&mut got).await.unwrap(), 0, "hanging up is seen");
        assert!(to.write_all(b"x").await.is_err());
    }

    #[test]
    fn what_is_no_pipe_is_not_opened_as_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert!(pipe::OpenOptions::new().open_receiver(file.path()).is_err());
            assert!(pipe::OpenOptions::new().open_sender("/dev/null").is_err());
            assert!(Socket::new(file.as_file().as_fd(), Interest::READABLE).is_err());
        });
    }
}
