//! From a program's name to the file that will be executed. A name is looked for in the system's directories only: what a
//! project, a grant or the user's `PATH` holds never wins over them.

use crate::ProgramsConfig;
use crate::confined::Refused;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use vespiary_kernel::program::ProgramName;

/// A program that may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// As it is executed: some programs do as they are called, so a link is not replaced by what it leads to.
    pub(crate) path: PathBuf,
    /// The file it is.
    pub(crate) real: PathBuf,
}

/// The file `name` means.
pub(crate) fn find(name: &ProgramName, config: &ProgramsConfig) -> Result<Found, Refused> {
    if name.is_path() {
        return at(Path::new(name.as_str()), name)?.ok_or_else(|| Refused::NotFound(format!("there is no {name}")));
    }
    for dir in &config.search {
        if let Some(found) = at(&dir.join(name.as_str()), name)? {
            return Ok(found);
        }
    }
    let places: Vec<_> = config.search.iter().map(|dir| dir.display().to_string()).collect();
    Err(Refused::NotFound(format!(
        "there is no program {name} in {}; install it, or grant it by its absolute path",
        places.join(", ")
    )))
}

fn at(path: &Path, name: &ProgramName) -> Result<Option<Found>, Refused> {
    let looked = std::fs::canonicalize(path).and_then(|real| Ok((real.metadata()?, real)));
    let (about, real) = match looked {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Refused::Unfit(format!("{name} cannot be looked at: {error}"))),
    };
    match unfit(&about) {
        Some(why) => Err(Refused::Unfit(format!("{} is not started: {why}", real.display()))),
        None => Ok(Some(Found { path: path.to_owned(), real })),
    }
}

/// Why a file is not started as a program.
fn unfit(about: &Metadata) -> Option<&'static str> {
    let mode = about.mode();
    if !about.is_file() {
        return Some("it is not a regular file");
    }
    if mode & 0o111 == 0 {
        return Some("nobody may execute it");
    }
    if mode & 0o6000 != 0 {
        return Some("it would run with another's rights (set-user-ID or set-group-ID), which are never given");
    }
    if mode & 0o002 != 0 {
        return Some("everybody may change it, so it may not be what was granted; take that right away (chmod o-w)");
    }
    let own = rustix::process::geteuid().as_raw();
    if about.uid() != 0 && about.uid() != own {
        return Some("it belongs to another user, who may change it");
    }
    None
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set the disk up")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn program(dir: &Path, name: &str, mode: u32) -> ProgramName {
        let path = dir.join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn only_what_is_certainly_the_granted_program_is_started() {
        let config = ProgramsConfig::new(None);
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        let good = program(&dir, "good", 0o755);
        assert_eq!(find(&good, &config).unwrap().real, Path::new(good.as_str()));
        for (mode, part) in
            [(0o644, "execute"), (0o4755, "set-user-ID"), (0o2755, "set-group-ID"), (0o757, "everybody")]
        {
            let error = find(&program(&dir, "bad", mode), &config).unwrap_err();
            assert!(matches!(&error, Refused::Unfit(why) if why.contains(part)), "{mode:o}: {error}");
        }
        let directory: ProgramName = dir.to_str().unwrap().parse().unwrap();
        assert!(matches!(find(&directory, &config), Err(Refused::Unfit(_))));
        std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap();
        let link: ProgramName = dir.join("link").to_str().unwrap().parse().unwrap();
        assert!(find(&link, &config).unwrap_err().to_string().contains("/etc/passwd"));
    }

    #[test]
    fn a_name_is_looked_for_in_the_systems_directories_in_their_order() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().canonicalize().unwrap();
        program(&dir, "ls", 0o755);
        let mut config = ProgramsConfig::new(None);
        let ls: ProgramName = "ls".parse().unwrap();
        assert!(!find(&ls, &config).unwrap().path.starts_with(&dir));
        config.search.insert(0, dir.clone());
        assert_eq!(find(&ls, &config).unwrap().path, dir.join("ls"));
        let missing = find(&"no-such-program".parse().unwrap(), &config).unwrap_err().to_string();
        assert!(missing.contains("/usr/bin") && missing.contains("install it"), "{missing}");
    }
}
