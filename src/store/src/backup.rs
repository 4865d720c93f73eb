//! Consistent copies of a database, also of one that is in use.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::StoreError;

/// Pages copied between two looks at whether to go on: 1 MB, a few milliseconds.
const PAGES_AT_ONCE: i32 = 256;
/// Pause before a page that another program holds is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How often that is tried: five seconds.
const BUSY_TRIES_MAX: u32 = 100;
/// How many names beside the file are tried for its copy, as in JupyterHub.
const NAMES_TRIED_MAX: u32 = 10;

/// How far a copy is, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// Pages copied.
    pub done: u64,
    /// Pages in all.
    pub total: u64,
}

/// What becomes of a file that stands where the copy shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is copied.
    Keep,
    /// It is replaced, in one step, once the copy is complete.
    Replace,
}

/// Copies the database `from` to the file `to` (mode 0600) as it is at this moment. Writers go on meanwhile. The copy
/// appears under its name when it is complete, checked and on the disk; `progress` may end it before, and then
/// nothing is left of it.
///
/// # Errors
/// `from` cannot be read or is damaged, `to` exists or cannot be written, or `progress` ended it.
pub fn backup(
    from: &Path,
    to: &Path,
    existing: Existing,
    progress: &mut dyn FnMut(CopyProgress) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    if existing == Existing::Keep && std::fs::symlink_metadata(to).is_ok() {
        return Err(StoreError::Exists(to.to_path_buf()));
    }
    let unwritable = |error| StoreError::Open(to.to_path_buf(), error);
    let part = Part::make(to).map_err(unwritable)?;
    copy(from, &part.path, progress)?;
    let path = &part.path;
    File::open(path).and_then(|file| file.sync_all()).map_err(unwritable)?;
    match existing {
        Existing::Replace => std::fs::rename(path, to),
        // A link does not replace what somebody made meanwhile.
        Existing::Keep => std::fs::hard_link(path, to),
    }
    .map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => StoreError::Exists(to.to_path_buf()),
        _ => StoreError::Open(to.to_path_buf(), error),
    })?;
    File::open(directory(to)).and_then(|file| file.sync_all()).map_err(unwritable)
}

/// Copies a database beside itself, under JupyterHub's name for it: `jupyterhub.sqlite.2026-11-22-024735`.
/// Returns the copy's path.
///
/// # Errors
/// As [`backup`].
pub fn backup_beside(
    path: &Path,
    now: SystemTime,
    progress: &mut dyn FnMut(CopyProgress) -> ControlFlow<()>,
) -> Result<PathBuf, StoreError> {
    let time = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::system());
    let name = format!("{}.{}", path.display(), time.strftime("%Y-%m-%d-%H%M%S"));
    let numbered = (1..NAMES_TRIED_MAX).map(|number| format!("{name}.{number}"));
    let mut last = PathBuf::from(&name);
    for name in std::iter::once(name.clone()).chain(numbered) {
        last = PathBuf::from(name);
        match backup(path, &last, Existing::Keep, progress) {
            Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(last),
        }
    }
    Err(StoreError::Exists(last))
}

/// A copy that is not complete yet. What is left of it goes when this is dropped.
struct Part {
    path: PathBuf,
}

impl Part {
    fn make(to: &Path) -> std::io::Result<Self> {
        let name = to.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
        let path = directory(to).join(format!(".{name}.part-{}", std::process::id()));
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename there is nothing left, and SQLite removes its journal itself.
        std::fs::remove_file(&self.path).ok();
        std::fs::remove_file(format!("{}-journal", self.path.display())).ok();
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn copy(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(CopyProgress) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let at_source = |error: rusqlite::Error| StoreError::from(error).at(from);
    let at_copy = |error: rusqlite::Error| StoreError::from(error).at(to);
    if !from.is_file() {
        return Err(StoreError::Open(from.to_path_buf(), ErrorKind::NotFound.into()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(at_source)?;
    source.busy_timeout(BUSY_PAUSE * BUSY_TRIES_MAX).map_err(at_source)?;
    // A transaction of our own keeps the state of this moment; without one, each write of the hub would make the
    // copy begin anew.
    source.execute_batch("BEGIN").map_err(at_source)?;
    source.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())).map_err(at_source)?;
    let mut target = Connection::open_with_flags(to, flags).map_err(at_copy)?;
    {
        let copy = Backup::new(&source, &mut target).map_err(at_copy)?;
        let mut tries = 0;
        loop {
            let step = copy.step(PAGES_AT_ONCE).map_err(at_copy)?;
            let state = copy.progress();
            let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
            let total = count(state.pagecount);
            let now = CopyProgress { done: total.saturating_sub(count(state.remaining)), total };
            if progress(now).is_break() {
                return Err(StoreError::Interrupted(to.to_path_buf()));
            }
            match step {
                StepResult::Done => break,
                StepResult::More => tries = 0,
                _ if tries == BUSY_TRIES_MAX => return Err(StoreError::Locked(from.to_path_buf())),
                _ => {
                    tries += 1;
                    std::thread::sleep(BUSY_PAUSE);
                }
            }
        }
    }
    // The copy is one file, whatever the journal of the original.
    target.pragma_update(None, "journal_mode", "DELETE").map_err(at_copy)?;
    let verdict: String =
        target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(at_source)?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt(from.to_path_buf(), verdict));
    }
    Ok(())
}
