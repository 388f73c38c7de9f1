//! What the attacks share: the host's interface, reached past the SDK, which is polite and would refuse half of them itself.

use vespiary_sdk::{Error, Result};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::ErrorCode;
pub use wasip2::filesystem::types::{Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags};

pub const READ: DescriptorFlags = DescriptorFlags::READ;
pub const WRITE: DescriptorFlags = DescriptorFlags::WRITE;
pub const CREATE: OpenFlags = OpenFlags::CREATE;
pub const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
pub const NOTHING: OpenFlags = OpenFlags::empty();

/// The directory the cell was granted.
pub fn granted() -> Result<Descriptor> {
    let (descriptor, _) = get_directories().into_iter().next().ok_or_else(|| Error::failed("nothing was granted"))?;
    Ok(descriptor)
}

/// One attack, tried in many ways.
pub struct Siege {
    pub dir: Descriptor,
    refusals: Vec<String>,
}

impl Siege {
    pub fn begin() -> Result<Self> {
        Ok(Self { dir: granted()?, refusals: Vec::new() })
    }

    /// One way was tried. Whatever it gives is loot.
    pub fn tried<T>(&mut self, what: &str, result: std::result::Result<T, ErrorCode>) {
        self.refusals.push(match result {
            Ok(_) => format!("{what}: GOT THROUGH"),
            Err(code) => format!("{what}: {}", code.name()),
        });
    }

    /// Read what `path` leads to.
    pub fn reads(&mut self, path: &str) {
        let read = read(&self.dir, path).map(|text| self.refusals.push(format!("LOOT {text}")));
        self.tried(&format!("read {}", shown(path)), read);
    }

    /// Write to what `path` leads to: open, make, empty.
    pub fn writes(&mut self, path: &str) {
        for (what, flags) in [("open", NOTHING), ("make", CREATE), ("empty", OpenFlags::TRUNCATE)] {
            let opened = self.dir.open_at(FOLLOW, path, flags, WRITE);
            self.tried(&format!("{what} {}", shown(path)), opened);
        }
    }

    /// The end: refused in every way, or through in one.
    pub fn end(self) -> Result<String> {
        let told = self.refusals.join("; ");
        if told.contains("GOT THROUGH") { Ok(told) } else { Err(Error::failed(told)) }
    }
}

/// The first bytes of a file, whatever the path leads to.
pub fn read(dir: &Descriptor, path: &str) -> std::result::Result<String, ErrorCode> {
    let file = dir.open_at(FOLLOW, path, NOTHING, READ)?;
    file.read(4096, 0).map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned())
}

/// Do something again and again; the error that ends it, or success where nothing does.
pub fn flood(most: u32, mut once: impl FnMut(u32) -> std::result::Result<(), ErrorCode>) -> Result<String> {
    for n in 0..most {
        once(n).map_err(|code| Error::failed(format!("after {n}: {}", code.name())))?;
    }
    Ok(format!("{most} times and nobody minded"))
}

/// A path, cut to what a message can hold.
fn shown(path: &str) -> String {
    path.chars().take(40).collect::<String>().escape_default().to_string()
}
