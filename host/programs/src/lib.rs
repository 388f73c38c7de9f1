//! Runs host programs: only those that were granted by name, each in a small world of its own. Nobody else in the host
//! starts a program, and nothing here decides what is granted.
//!
//! One run is three processes. The host starts the **launcher** (this program again), which leaves the host's namespaces.
//! Its child, the **warden**, is process 1 in there: it lays out a root that holds only what was granted, drops every
//! privilege, puts itself under Landlock and seccomp, and then starts the **program**, which inherits all of that. When the
//! warden ends, for whatever reason, the kernel kills everything it ever started.
#![forbid(unsafe_code)]

mod confined;
mod find;
mod launch;
mod limits;
mod mounts;
mod opened;
mod output;
mod places;
mod run;
mod runner;
mod syscalls;
mod tree;
mod walls;
mod warden;
mod wire;
mod world;

pub use confined::{Confined, Ended, EndedBy, ProgramLimits, Refused};
pub use launch::{ENTRY, enter};
pub use opened::{Life, Opened, Wanted};
pub use output::Kept;

use std::path::PathBuf;
use std::sync::Arc;

/// The manifest of the plugin `exec`, whose one tool, `exec.run`, runs programs. A catalog offers it; `Programs` runs it.
pub const MANIFEST: &str = include_str!("plugin.toml");

/// What programs are run with.
#[derive(Debug, Clone)]
pub struct ProgramsConfig {
    /// The executable that confines: it must call [`enter`] when its first argument is [`ENTRY`].
    pub launcher: Option<PathBuf>,
    /// Where a bare name is looked for, and the `PATH` of every program. Absolute; earlier wins.
    pub search: Vec<PathBuf>,
    /// Directories that every program may read and execute from, besides `/usr`, `/bin` and `/lib*`. Absolute, real paths.
    pub system: Vec<PathBuf>,
    /// What any program may use. Times, results and open files are lowered by the call's quota; memory is these programs' own
    /// scale, since a compiler needs more than a cell.
    pub limits: ProgramLimits,
}

impl ProgramsConfig {
    /// The system's usual directories.
    pub fn new(launcher: Option<PathBuf>) -> Self {
        let search = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from).to_vec();
        let limits = ProgramLimits { memory_bytes_max: 4 << 30, open_files_max: 1_024, ..ProgramLimits::default() };
        Self { launcher, search, system: Vec::new(), limits }
    }
}

/// Runs programs. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Programs {
    config: Arc<ProgramsConfig>,
}

impl Programs {
    /// Nothing is started or checked yet.
    pub fn new(config: ProgramsConfig) -> Self {
        Self { config: Arc::new(config) }
    }
}

#[cfg(test)]
mod tests {
    use vespiary_kernel::plugin::{Kind, Manifest};

    #[test]
    fn the_manifest_is_one_the_kernel_takes() {
        let manifest = Manifest::parse(super::MANIFEST).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.kind), ("exec", Kind::Program));
        assert!(manifest.needs.iter().all(|need| need.optional));
    }
}
