//! Which compiler builds guests on this machine, and how it is called so that the same sources give the same bytes. What
//! must never live here: what is done with the result.
#![allow(clippy::disallowed_methods, reason = "runs compilers")]

use crate::guest::{Guest, Output, TARGET, Workspace};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A compiler that can make guests.
#[derive(Debug)]
pub(crate) struct Toolchain {
    rustc: PathBuf,
    sysroot: PathBuf,
    std: Std,
    /// Everything that decides about the bytes, in one line.
    pub(crate) identity: String,
}

/// Where the standard library for the target comes from.
#[derive(Debug)]
enum Std {
    Installed,
    /// Compiled from the compiler's own sources, because the distribution ships those and not the target.
    FromSource {
        linker: PathBuf,
    },
}

/// The compiler on the path, then the distribution's, which may be able to do what the first cannot.
const COMPILERS: [&str; 2] = ["rustc", "/usr/bin/rustc"];

impl Toolchain {
    pub(crate) fn find() -> Result<Self> {
        let own_sysroot = output(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
        let mut tried = Vec::new();
        for rustc in COMPILERS {
            match Self::with(Path::new(rustc), Path::new(&own_sysroot)) {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => tried.push(format!("  {rustc}: {error:#}")),
            }
        }
        bail!(
            "no compiler here can build guests for {TARGET}.\n{}\nInstall the target (`rustup target add {TARGET}`), or the \
             standard library's sources (`rustup component add rust-src`; on Debian `apt-get install rustc rust-src lld`).",
            tried.join("\n")
        )
    }

    fn with(rustc: &Path, own_sysroot: &Path) -> Result<Self> {
        let version = output(Command::new(rustc).arg("-V"))?;
        let sysroot = PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?);
        let installed = output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]))?;
        if Path::new(&installed).is_dir() {
            return Ok(Self { rustc: rustc.to_owned(), sysroot, std: Std::Installed, identity: version });
        }
        ensure!(library_sources(&sysroot).is_dir(), "{version} has neither the target nor the library's sources");
        let linker = linker(&[&sysroot, own_sysroot])?;
        let linker_version = output(Command::new(&linker).args(["-flavor", "wasm", "--version"]))
            .or_else(|_| output(Command::new(&linker).arg("--version")))?;
        let identity = format!("{version}, std from source, {linker_version}");
        Ok(Self { rustc: rustc.to_owned(), sysroot, std: Std::FromSource { linker }, identity })
    }

    /// Compiles a guest; gives the core module of each of its outputs.
    pub(crate) fn compile(&self, workspace: &Workspace, guest: &Guest) -> Result<Vec<(Output, Vec<u8>)>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(&workspace.root)
            .args(["build", "--locked", "--quiet", "--lib", "--examples", "--profile", "guest"])
            .args(["--target", TARGET, "--package", &guest.package])
            .args(["--message-format", "json-render-diagnostics"])
            .env("RUSTC", &self.rustc)
            .env("CARGO_TARGET_DIR", &workspace.guest_target)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(workspace).join("\u{1f}"))
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .stderr(Stdio::inherit());
        if let Std::FromSource { linker } = &self.std {
            // Building std is an unstable switch of cargo's; the compiler is a stable one all the same.
            command.env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=std,panic_abort"]);
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        self.set_c_compiler(&mut command, workspace, guest)?;
        let built = command.output().context("cannot run cargo")?;
        ensure!(built.status.success(), "{} does not compile (see above)", guest.name);
        modules(guest, &built.stdout)
    }

    /// The same sources give the same bytes only where no path of this machine gets into them.
    fn flags(&self, workspace: &Workspace) -> Vec<String> {
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        let mut flags = vec!["-Ctarget-feature=+simd128".to_owned()];
        flags.extend(cargo_home().map(|home| remap(&home, "cargo")));
        flags.push(remap(&library_sources(&self.sysroot), "std"));
        // The last match wins, and the workspace may lie below any of the others.
        flags.push(remap(&workspace.root, "."));
        flags
    }

    fn set_c_compiler(&self, command: &mut Command, workspace: &Workspace, guest: &Guest) -> Result<()> {
        let Some(cc) = &guest.needs.cc else { return Ok(()) };
        let found = output(Command::new(cc).arg("--version"));
        found.with_context(|| format!("{} needs the C compiler {cc}; on Debian `apt-get install {cc}`", guest.name))?;
        let mut flags = guest.needs.cflags.clone().unwrap_or_default();
        for (from, to) in cargo_home().map(|home| (home, "cargo")).into_iter().chain([(workspace.root.clone(), ".")]) {
            flags.push_str(&format!(" '-ffile-prefix-map={}={to}'", from.display()));
        }
        command.env("CC_wasm32_unknown_unknown", cc).env("CFLAGS_wasm32_unknown_unknown", flags);
        // So that a path with a space in it stays one flag.
        command.env("CC_SHELL_ESCAPED_FLAGS", "1");
        if let Some(ar) = &guest.needs.ar {
            command.env("AR_wasm32_unknown_unknown", ar);
        }
        Ok(())
    }
}

/// One line of cargo's report.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    target: MessageTarget,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
struct MessageTarget {
    name: String,
}

fn modules(guest: &Guest, report: &[u8]) -> Result<Vec<(Output, Vec<u8>)>> {
    let messages: Vec<Message> =
        serde_json::Deserializer::from_slice(report).into_iter().collect::<Result<_, _>>().context("cargo's report")?;
    let is_module = |path: &&PathBuf| path.extension() == Some(OsStr::new("wasm"));
    let module = |output: &Output| {
        let files = messages
            .iter()
            .filter(|message| message.target.name == output.target)
            .flat_map(|message| &message.filenames);
        let path =
            files.clone().find(is_module).with_context(|| format!("cargo built no module for {}", output.target))?;
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((output.clone(), bytes))
    };
    guest.outputs.iter().map(module).collect()
}

fn library_sources(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib/src/rust/library")
}

fn cargo_home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// LLVM's linker: a toolchain's own, or the system's.
fn linker(sysroots: &[&Path]) -> Result<PathBuf> {
    for sysroot in sysroots {
        let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
        let found = hosts.map(|host| host.path().join("bin/rust-lld")).find(|linker| linker.is_file());
        if let Some(linker) = found {
            return Ok(linker);
        }
    }
    let system = ["/usr/bin/rust-lld", "/usr/bin/wasm-ld"].map(PathBuf::from);
    system.into_iter().find(|linker| linker.is_file()).context("no LLVM linker (rust-lld or wasm-ld) was found")
}

/// The first line a program prints.
fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8(output.stdout).with_context(|| format!("what {program} prints"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
