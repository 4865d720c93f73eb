//! The file of `log_file`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

/// The file of `log_file`.
pub struct LogFile {
    path: PathBuf,
    file: Mutex<Arc<File>>,
}

impl LogFile {
    /// Opens it, and makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = Self::append(path).with_context(|| format!("log_file {}", path.display()))?;
        Ok(Self { path: path.to_path_buf(), file: Mutex::new(Arc::new(file)) })
    }

    /// Readable by the group, as syslog's files: lines hold people's names and addresses.
    fn append(path: &Path) -> std::io::Result<File> {
        std::fs::OpenOptions::new().append(true).create(true).mode(0o640).open(path)
    }

    /// Opens it anew, after somebody has moved it.
    ///
    /// # Errors
    /// It cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> std::io::Result<()> {
        let file = Self::append(&self.path)?;
        *self.file() = Arc::new(file);
        Ok(())
    }

    /// Writes a whole line; a disk that is full loses it.
    pub fn write(&self, line: &[u8]) {
        // Not while it is locked: who opens it anew does not wait for a disk that hangs.
        let file = self.file().clone();
        // There is nowhere left to report to that would not be asked as well.
        let _ = (&*file).write_all(line);
    }

    fn file(&self) -> MutexGuard<'_, Arc<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
