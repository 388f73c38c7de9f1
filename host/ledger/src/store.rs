//! Opening the file: owner-only, of the right kind, brought to this version's schema; and SQLite's faults told with a
//! remedy. Everything that knows the file system or an SQLite error code is here.
#![allow(clippy::disallowed_methods, reason = "this file is meant to touch the file system: it creates the ledger")]

use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vespiary_kernel::ports::LogError;

/// "VSPY": tells a ledger from any other SQLite database.
const APPLICATION_ID: i32 = 0x5653_5059;

/// One entry a schema version; entry N brings version N to N + 1. Never edit one that was released.
const MIGRATIONS: &[&str] = &[include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql")];

/// How long to wait for another process's transaction. Groups commit within milliseconds, so a holder that keeps the
/// file this long is stuck.
pub(crate) const BUSY_MAX: Duration = Duration::from_secs(5);

/// What a ledger cannot do, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct LedgerError {
    /// What sort of fault.
    pub kind: FaultKind,
    /// What happened, with the file.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// SQLite's or the system's own words.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Sorts of faults, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Another process holds the file.
    Locked,
    /// The file is damaged.
    Corrupt,
    /// The file is something else.
    NotALedger,
    /// A later version of this program wrote it.
    Newer,
    /// No space left.
    DiskFull,
    /// The file or its directory cannot be written, or not be read.
    Permission,
    /// There is no such file, run or blob.
    Missing,
    /// What was handed in cannot be recorded.
    Refused,
    /// Anything else.
    Other,
}

impl LedgerError {
    pub(crate) fn new(kind: FaultKind, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, what: what.into(), remedy: remedy.into(), source: None }
    }

    /// A fault of SQLite's while doing something with the ledger at `path`.
    pub(crate) fn sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let at = path.display();
        let code = error.sqlite_error_code();
        let (kind, what, remedy) = match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => (
                FaultKind::Locked,
                format!("another process holds the ledger {at}"),
                "wait for it or stop it (`fuser` names it), then try again".into(),
            ),
            Some(ErrorCode::DatabaseCorrupt) => (
                FaultKind::Corrupt,
                format!("the ledger {at} is damaged: {error}"),
                format!("keep it as evidence, for example `mv {at} {at}.damaged`; a new one is then created"),
            ),
            Some(ErrorCode::NotADatabase) => return Self::not_a_ledger(path, "it is not an SQLite database"),
            Some(ErrorCode::DiskFull) => (
                FaultKind::DiskFull,
                format!("no space is left for the ledger {at}"),
                "free space on that disk or set VESPIARY_HOME to another, then start the run again".into(),
            ),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
                FaultKind::Permission,
                format!("the ledger {at} cannot be opened or written: {error}"),
                "make the file and its directory writable for you, or set VESPIARY_HOME to a directory that is".into(),
            ),
            _ => (
                FaultKind::Other,
                format!("the ledger {at} failed: {error}"),
                "check the disk and its free space; if it stays, move the file aside".into(),
            ),
        };
        Self { kind, what, remedy, source: Some(error.into()) }
    }

    fn io(path: &Path, doing: &str, error: io::Error) -> Self {
        let at = path.display();
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::DiskFull,
            io::ErrorKind::NotFound => FaultKind::Missing,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultKind::Permission,
            _ => FaultKind::Other,
        };
        let remedy = match kind {
            FaultKind::DiskFull => "free space on that disk, or set VESPIARY_HOME to another",
            _ => "make the directory writable for you, or set VESPIARY_HOME to one that is",
        };
        Self { kind, what: format!("cannot {doing} {at}: {error}"), remedy: remedy.into(), source: Some(error.into()) }
    }

    fn not_a_ledger(path: &Path, why: &str) -> Self {
        let at = path.display();
        Self::new(
            FaultKind::NotALedger,
            format!("{at} is not a Vespiary ledger: {why}"),
            "name another file, or move this one aside",
        )
    }
}

impl From<&LedgerError> for LogError {
    fn from(error: &LedgerError) -> Self {
        Self { what: error.what.clone(), remedy: error.remedy.clone() }
    }
}

/// Open for writing; create the file and its directory where they do not exist.
pub(crate) fn open_writer(path: &Path, busy_max: Duration) -> Result<Connection, LedgerError> {
    create_private(path)?;
    refuse_foreign(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fault = |e| LedgerError::sqlite(path, e);
    let mut connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    // SQLite opens what it may not write for reading and says nothing until the first write, when a run is under way.
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(fault)? {
        return Err(LedgerError::new(
            FaultKind::Permission,
            format!("the ledger {} can only be read", path.display()),
            "make the file and its directory writable for you, or set VESPIARY_HOME to a directory that is",
        ));
    }
    connection.busy_timeout(busy_max).map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(32);
    let version = schema_version(&connection, path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(fault)?;
    if mode != "wal" {
        return Err(LedgerError::new(
            FaultKind::Other,
            format!("the file system of {} cannot hold a ledger: it offers no shared memory", path.display()),
            "set VESPIARY_HOME to a directory on a local disk",
        ));
    }
    for (name, value) in [("foreign_keys", "on"), ("trusted_schema", "off"), ("cell_size_check", "on")] {
        connection.pragma_update(None, name, value).map_err(fault)?;
    }
    // The log behind the database may grow to this many pages before it is folded in, and is cut back to 16 MiB then. One MiB at a time:
    // whoever waits for the disk, and the end of a run most of all, finds little left to be written.
    connection.pragma_update(None, "wal_autocheckpoint", 256).map_err(fault)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20).map_err(fault)?;
    migrate(&mut connection, path, version)?;
    refuse_foreign_schema(&connection, path)?;
    Ok(connection)
}

/// Open for reading only; the file must exist.
pub(crate) fn open_reader(path: &Path, busy_max: Duration) -> Result<Connection, LedgerError> {
    let missing = || {
        let what = format!("there is no ledger at {}", path.display());
        LedgerError::new(FaultKind::Missing, what, "run something first: the first run creates it")
    };
    if !path.try_exists().map_err(|e| LedgerError::io(path, "look for", e))? {
        return Err(missing());
    }
    refuse_foreign(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fault = |e| LedgerError::sqlite(path, e);
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    connection.busy_timeout(busy_max).map_err(fault)?;
    connection.pragma_update(None, "trusted_schema", "off").map_err(fault)?;
    match schema_version(&connection, path)? {
        // Somebody has made the file and nothing in it yet, or died over that.
        0 => Err(missing()),
        // The tables are the same in all versions so far: what an older program left can be read as it is.
        _ => Ok(connection),
    }
}

/// SQLite would create the file readable for everybody the umask lets in; its `-wal` and `-shm` files copy these modes.
fn create_private(path: &Path) -> Result<(), LedgerError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
    let mut directory = fs::DirBuilder::new();
    directory.recursive(true);
    let mut file = fs::OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        directory.mode(0o700);
        file.mode(0o600);
    }
    directory.create(&parent).map_err(|e| LedgerError::io(&parent, "create the directory", e))?;
    match file.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(LedgerError::io(path, "create the ledger", error)),
    }
}

/// Look at the first bytes before SQLite does: a file that is something else must not be touched, not even locked.
fn refuse_foreign(path: &Path) -> Result<(), LedgerError> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let read = |e| LedgerError::io(path, "read the ledger", e);
    // Opening a pipe would wait for somebody at its other end, and a device has no end.
    match fs::metadata(path).map_err(read)?.file_type() {
        kind if kind.is_file() => {}
        kind if kind.is_dir() => return Err(LedgerError::not_a_ledger(path, "it is a directory")),
        _ => return Err(LedgerError::not_a_ledger(path, "it is a pipe, a socket or a device")),
    }
    let mut start = Vec::with_capacity(16);
    fs::File::open(path).map_err(read)?.take(16).read_to_end(&mut start).map_err(read)?;
    if start.is_empty() || start == MAGIC {
        return Ok(());
    }
    Err(LedgerError::not_a_ledger(path, "it is not an SQLite database"))
}

/// The schema version, 0 for an empty file; refuses what is not ours or is newer than this program.
fn schema_version(connection: &Connection, path: &Path) -> Result<usize, LedgerError> {
    let fault = |e| LedgerError::sqlite(path, e);
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(fault);
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fault)?;
    if tables == 0 && application == 0 && version == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(LedgerError::not_a_ledger(path, "it is an SQLite database of another program"));
    }
    match usize::try_from(version) {
        Ok(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => Err(LedgerError::new(
            FaultKind::Newer,
            format!("the ledger {} has schema {version}; this program knows {}", path.display(), MIGRATIONS.len()),
            "update vespiary, or set VESPIARY_HOME to start a ledger elsewhere",
        )),
    }
}

/// Refuse to write where the schema is not the one this program made: a trigger could swallow what is recorded, and a missing
/// one no longer stops mistakes. Reading stays possible.
fn refuse_foreign_schema(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let fault = |e| LedgerError::sqlite(path, e);
    let objects = |connection: &Connection| -> rusqlite::Result<BTreeMap<String, Option<String>>> {
        let mut statement = connection.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let fresh = Connection::open_in_memory().map_err(fault)?;
    for migration in MIGRATIONS {
        fresh.execute_batch(migration).map_err(fault)?;
    }
    let (found, expected) = (objects(connection).map_err(fault)?, objects(&fresh).map_err(fault)?);
    // What `ANALYZE` and the like keep for SQLite itself changes nothing that is written.
    let differs = |name: &&String| !name.contains(" sqlite_") && found.get(*name) != expected.get(*name);
    match found.keys().chain(expected.keys()).find(differs) {
        None => Ok(()),
        Some(name) => Err(LedgerError::new(
            FaultKind::Corrupt,
            format!("the ledger {} was rebuilt by somebody: its {name} is not what this program made", path.display()),
            format!("keep it as evidence, for example `mv {0} {0}.changed`; a new one is then created", path.display()),
        )),
    }
}

fn migrate(connection: &mut Connection, path: &Path, seen: usize) -> Result<(), LedgerError> {
    if seen == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(|e| LedgerError::sqlite(path, e))?;
    // Another process may have migrated between the look and the lock.
    let version = schema_version(&transaction, path)?;
    let step = || -> rusqlite::Result<()> {
        for migration in &MIGRATIONS[version..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
        transaction.commit()
    };
    step().map_err(|e| LedgerError::sqlite(path, e))
}
