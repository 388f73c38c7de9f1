//! What host and launcher tell each other over the launcher's standard input, which is a socket: one order in, reports out.

use crate::confined::{ProgramLimits, Refused};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Longest order, bytes: standard input and arguments, and what JSON makes of them.
const ORDER_BYTES_MAX: u32 = 64 << 20;
/// Longest report, bytes.
pub(crate) const REPORT_BYTES_MAX: usize = 8 << 10;

/// What the warden is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    /// What the program is told it is called.
    pub(crate) name: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) stdin: Option<String>,
    /// Whether whatever the host sends after this order is the program's standard input, in place of `stdin`.
    #[serde(default)]
    pub(crate) live: bool,
    pub(crate) dir: PathBuf,
    pub(crate) system: Vec<PathBuf>,
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    /// Of which a name may be none that JSON can hold.
    #[serde(with = "bytes")]
    pub(crate) hide: Vec<PathBuf>,
    pub(crate) network: bool,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) limits: ProgramLimits,
}

/// What the warden, or the launcher before it, has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The world could not be closed; nothing was started.
    Unconfinable { missing: String, remedy: String },
    /// A granted place cannot be brought in; nothing was started.
    Place(String),
    /// The program could not be executed.
    NotStarted(String),
    /// It runs, and this is what it has used.
    Beat(Used),
    /// It was ended because it used more than it may.
    Over { quota: String, limit: u64, used: u64, so_far: Used },
    /// It ended with this status.
    Exited { status: i32, used: Used },
    /// It ended by this signal.
    Signalled { signal: String, used: Used },
}

/// What a program and all it started have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) cpu_us: u64,
    pub(crate) memory_bytes_peak: u64,
}

/// Paths, each as the numbers of its bytes.
mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::PathBuf;

    pub(super) fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|path| path.as_os_str().as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        let paths = Vec::<Vec<u8>>::deserialize(from)?;
        Ok(paths.into_iter().map(|path| OsString::from_vec(path).into()).collect())
    }
}

impl Order {
    /// As it goes over the socket: its length, then JSON.
    pub(crate) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let length = u32::try_from(json.len()).ok().filter(|length| *length <= ORDER_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("the order is too long"))?;
        Ok([&length.to_le_bytes()[..], &json].concat())
    }

    /// Read one; blocks until it is whole.
    pub(crate) fn from_reader(mut from: impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > ORDER_BYTES_MAX {
            return Err(io::Error::other("the order is too long"));
        }
        let mut json = Vec::new();
        from.take(u64::from(length)).read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }
}

impl Report {
    /// Send it, as one line.
    pub(crate) fn send(&self, mut to: impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)
    }
}

impl From<Refused> for Report {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unconfinable { missing, remedy } => Self::Unconfinable { missing, remedy },
            Refused::Place(why) => Self::Place(why),
            other => Self::NotStarted(other.to_string()),
        }
    }
}
