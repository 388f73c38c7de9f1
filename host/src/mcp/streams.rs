//! Standard input and output as a client of the protocol holds them. Pipes are read and written by whoever waits, without a thread
//! in between that would have to be woken for every message. What must never happen here: changing a mode of a stream that other
//! processes hold as well.

use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;

/// What is read from.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;

/// What is written to.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Both. A stream that is no pipe, or that cannot be opened anew, is taken as it is.
pub fn standard() -> (Input, Output) {
    (input("/proc/self/fd/0"), output("/proc/self/fd/1"))
}

// A stream must not block who waits for it, and whether it does belongs to everybody who holds the same opening of it: a shell, for
// one. Opened once more, the pipe is the same and the mode is ours alone.

fn input(path: &str) -> Input {
    let opened: io::Result<pipe::Receiver> = pipe::OpenOptions::new().open_receiver(path);
    opened.map_or_else(|_| Box::new(tokio::io::stdin()) as Input, |pipe| Box::new(pipe))
}

fn output(path: &str) -> Output {
    let opened: io::Result<pipe::Sender> = pipe::OpenOptions::new().open_sender(path);
    opened.map_or_else(|_| Box::new(tokio::io::stdout()) as Output, |pipe| Box::new(pipe))
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

        let (mut from, mut to) = (input(&path(reader.as_raw_fd())), output(&path(writer.as_raw_fd())));
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

    #[test]
    fn what_is_no_pipe_is_not_opened_as_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert!(pipe::OpenOptions::new().open_receiver(file.path()).is_err());
            assert!(pipe::OpenOptions::new().open_sender("/dev/null").is_err());
        });
    }
}
