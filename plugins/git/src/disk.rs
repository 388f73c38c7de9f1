//! Bytes of the repository's files, read in pieces: a pack can be larger than a cell's memory. What must never live here:
//! what the bytes mean.

use crate::recent::Recent;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use vespiary_sdk::fs;

/// Bytes fetched from a file in one go.
const PAGE_BYTES: u64 = 32 * 1024;
/// Bytes of pages remembered, over all files.
const PAGES_BYTES_MAX: usize = 12 * 1024 * 1024;

/// A file's number and the page's number in it.
type PageKey = (usize, u64);

/// Pages lately read.
#[derive(Clone, Debug)]
pub(crate) struct Pages(Rc<Recent<PageKey, Rc<[u8]>>>);

impl Pages {
    /// An empty memory of pages.
    pub(crate) fn new() -> Self {
        Self(Rc::new(Recent::new(PAGES_BYTES_MAX)))
    }
}

/// Bytes that can be read from any offset.
pub(crate) trait Source {
    /// Some bytes from `offset` on; none where the file ends.
    fn piece(&self, offset: u64) -> io::Result<Piece>;
}

/// Some bytes of a file.
pub(crate) struct Piece {
    page: Rc<[u8]>,
    from: usize,
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.page.get(self.from..).unwrap_or_default()
    }
}

/// A file read once, front to back: nothing is remembered.
impl Source for fs::File {
    fn piece(&self, offset: u64) -> io::Result<Piece> {
        Ok(Piece { page: self.read_at(offset, PAGE_BYTES as usize)?.into(), from: 0 })
    }
}

/// A file read here and there, whose pages are remembered.
pub(crate) struct Paged {
    file: fs::File,
    number: usize,
    len: u64,
    pages: Pages,
}

impl Paged {
    /// Opens a file; `number` tells it from others that share `pages`.
    pub(crate) fn open(path: &str, number: usize, pages: &Pages) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, number, len, pages: pages.clone() })
    }

    /// Size in bytes, as it was when the file was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Exactly `N` bytes at `offset`.
    pub(crate) fn array<const N: usize>(&self, offset: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            let piece = self.piece(offset.saturating_add(filled as u64))?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let take = piece.len().min(N - filled);
            bytes[filled..filled + take].copy_from_slice(&piece[..take]);
            filled += take;
        }
        Ok(bytes)
    }

    /// The big-endian number of 32 bits at `offset`.
    pub(crate) fn number32(&self, offset: u64) -> io::Result<u32> {
        self.array(offset).map(u32::from_be_bytes)
    }
}

impl Source for Paged {
    fn piece(&self, offset: u64) -> io::Result<Piece> {
        let key = (self.number, offset / PAGE_BYTES);
        let page = match self.pages.0.recall(&key) {
            Some(page) => page,
            None => {
                let page: Rc<[u8]> = self.file.read_at(key.1 * PAGE_BYTES, PAGE_BYTES as usize)?.into();
                self.pages.0.keep(key, page.clone(), page.len());
                page
            }
        };
        Ok(Piece { page, from: (offset % PAGE_BYTES) as usize })
    }
}

/// A whole small file, or nothing where it is missing or hidden from this cell.
///
/// # Errors
/// It is larger than `bytes_max`, or cannot be read.
pub(crate) fn small(path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.read_whole(&mut bytes, bytes_max));
    match read {
        Ok(fs::Size::Whole) => Ok(Some(bytes)),
        Ok(fs::Size::CutOff) => {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{path} is larger than {bytes_max} bytes")))
        }
        // A directory opens and then does not read.
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Ok(None),
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// `path` as seen from the directory `from`, with `.` and `..` worked out in the text. Nothing where it leads above the root
/// of a relative path.
pub(crate) fn join(from: &str, path: &str) -> Option<String> {
    let absolute = path.starts_with('/') || from.starts_with('/');
    let mut names: Vec<&str> = if path.starts_with('/') { Vec::new() } else { from.split('/').collect() };
    names.retain(|name| !name.is_empty() && *name != ".");
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.is_empty() && !absolute => return None,
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    Some(match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join() {
        for (from, path, joined) in [
            (".", "a", Some("a")),
            ("a/b", "../c", Some("a/c")),
            ("a", "../../c", None),
            ("/a/b", "../../../c", Some("/c")),
            ("a", "/b", Some("/b")),
            ("a", "..", Some(".")),
            (".", ".", Some(".")),
        ] {
            assert_eq!(join(from, path).as_deref(), joined, "{from} {path}");
        }
    }
}
