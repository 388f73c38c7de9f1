//! Where Vespiary keeps its own things: state (the ledger), cache (compiled code) and the user's policy, by the XDG rules, or
//! all below `VESPIARY_HOME`. Directories are created for their owner alone. What is in them belongs to the pillars.
#![allow(
    clippy::disallowed_methods,
    reason = "this file is meant to touch the file system: it makes our own directories"
)]

use crate::exit::Trouble;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directories of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    state: PathBuf,
    cache: PathBuf,
    /// None where nothing says where this user's settings lie.
    policy: Option<PathBuf>,
}

impl Home {
    /// As the environment says. Creates nothing.
    pub fn locate() -> Result<Self, Trouble> {
        Self::from_env(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// All of them below `dir`.
    #[cfg(test)]
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self { state: dir.join("state"), cache: dir.join("cache"), policy: None }
    }

    fn from_env(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, Trouble> {
        if let Some(home) = env("VESPIARY_HOME") {
            let home = std::path::absolute(&home).map_err(|error| {
                Trouble::usage(
                    format!("VESPIARY_HOME={} cannot be used", home.display()),
                    error,
                    "set it to a directory you own",
                )
            })?;
            let policy = Some(home.join("config/policy.toml"));
            return Ok(Self { state: home.join("state"), cache: home.join("cache"), policy });
        }
        let below = |xdg: &str, usual: &str| {
            // The XDG rules: a relative path is to be ignored.
            let named = env(xdg).map(PathBuf::from).filter(|path| path.is_absolute());
            let base =
                named.or_else(|| env("HOME").map(PathBuf::from).filter(|p| p.is_absolute()).map(|h| h.join(usual)));
            base.map(|base| base.join("vespiary")).ok_or_else(|| {
                Trouble::usage(
                    "there is no place for the ledger and the cache",
                    format!("neither VESPIARY_HOME nor {xdg} nor HOME names an absolute directory"),
                    "set VESPIARY_HOME to a directory you own",
                )
            })
        };
        let policy = below("XDG_CONFIG_HOME", ".config").ok().map(|dir| dir.join("policy.toml"));
        Ok(Self { state: below("XDG_STATE_HOME", ".local/state")?, cache: below("XDG_CACHE_HOME", ".cache")?, policy })
    }

    /// The user's policy file; it need not exist.
    pub fn policy(&self) -> Option<&Path> {
        self.policy.as_deref()
    }

    /// The directory of the user's settings; it need not exist.
    pub fn settings(&self) -> Option<&Path> {
        self.policy.as_deref().and_then(Path::parent)
    }

    /// The directory of the ledger.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The directory of compiled code.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger.sqlite")
    }

    /// The directory of the worktrees of isolated agents, while they work.
    pub fn worktrees(&self) -> PathBuf {
        self.state.join("worktrees")
    }

    /// The token of the MCP server on HTTP, and the file it is in: made the first time, the same ever after, for its owner alone.
    pub fn mcp_token(&self) -> Result<(String, PathBuf), Trouble> {
        self.create()?;
        let path = self.state.join("mcp-token");
        let unusable = |error: io::Error| {
            let next = "remove it to have another one made, or give --token-file FILE";
            Trouble::failed(format!("{} cannot be used", path.display()), error, next)
        };
        if !path.exists() {
            self.make_mcp_token(&path).map_err(unusable)?;
        }
        let kept = fs::read_to_string(&path).map_err(unusable)?;
        if kept.trim().is_empty() {
            return Err(unusable(io::Error::new(io::ErrorKind::InvalidData, "it is empty")));
        }
        Ok((kept, path))
    }

    /// Whole before it has its name, and never in place of another that was made meanwhile.
    fn make_mcp_token(&self, path: &Path) -> io::Result<()> {
        let mut random = [0u8; 32];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        // For its owner alone, as all that is made so.
        let mut file = tempfile::NamedTempFile::new_in(&self.state)?;
        file.write_all(token.as_bytes())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
        }
    }

    /// Create what is missing, readable by its owner alone.
    pub fn create(&self) -> Result<(), Trouble> {
        for dir in [&self.state, &self.cache] {
            create_private(dir).map_err(|error| {
                Trouble::failed(
                    format!("{} cannot be used", dir.display()),
                    error,
                    "make it a directory that you own and can write, or set VESPIARY_HOME to another one",
                )
            })?;
        }
        Ok(())
    }
}

fn create_private(dir: &Path) -> io::Result<()> {
    let found = match fs::metadata(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            fs::metadata(dir)?
        }
        Err(error) => return Err(error),
    };
    if !found.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    // Compiled code is mapped and run: nobody else may have a say in it.
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(vars: &[(&str, &str)]) -> Result<Home, Trouble> {
        let vars: Vec<(String, OsString)> = vars.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        Home::from_env(move |name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn vespiary_home_moves_everything() {
        let all = home(&[("VESPIARY_HOME", "/v"), ("XDG_STATE_HOME", "/s"), ("HOME", "/h")]).unwrap();
        assert_eq!((all.state(), all.cache()), (Path::new("/v/state"), Path::new("/v/cache")));
        assert_eq!(all.policy(), Some(Path::new("/v/config/policy.toml")));
    }

    #[test]
    fn xdg_then_home_and_relative_xdg_is_ignored() {
        let xdg = home(&[("XDG_STATE_HOME", "/s"), ("XDG_CACHE_HOME", "rel"), ("HOME", "/h")]).unwrap();
        assert_eq!((xdg.state(), xdg.cache()), (Path::new("/s/vespiary"), Path::new("/h/.cache/vespiary")));
        assert_eq!(xdg.policy(), Some(Path::new("/h/.config/vespiary/policy.toml")));
        assert!(home(&[]).unwrap_err().next.contains("VESPIARY_HOME"));
    }

    #[test]
    fn directories_are_the_owners_alone_also_when_they_were_not() {
        let temp = tempfile::tempdir().unwrap();
        let open = temp.path().join("v/state");
        fs::create_dir_all(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let home = home(&[("VESPIARY_HOME", temp.path().join("v").to_str().unwrap())]).unwrap();
        home.create().unwrap();
        for dir in [home.state(), home.cache()] {
            assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn the_token_of_the_server_is_made_once_and_an_empty_one_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let home = home(&[("VESPIARY_HOME", temp.path().to_str().unwrap())]).unwrap();
        let (token, path) = home.mcp_token().unwrap();
        assert_eq!((token.len(), fs::metadata(&path).unwrap().mode() & 0o777), (64, 0o600));
        assert_eq!(home.mcp_token().unwrap(), (token, path.clone()));
        assert_eq!(fs::read_dir(home.state()).unwrap().count(), 1, "nothing else is left");
        // As a crash between the two left it, when it was not made whole first.
        fs::write(&path, "").unwrap();
        let trouble = home.mcp_token().unwrap_err();
        assert!(trouble.what.contains("mcp-token") && trouble.next.contains("remove it"), "{trouble:?}");
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("state"), "x").unwrap();
        let trouble = home(&[("VESPIARY_HOME", temp.path().to_str().unwrap())]).unwrap().create().unwrap_err();
        assert!(trouble.what.contains("state") && trouble.why.contains("not a directory"), "{trouble:?}");
    }
}
