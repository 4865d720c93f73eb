//! Throwaway accounts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{PASSWORD, PATIENCE, need_root};

/// A throwaway account; dropping it removes the account and its home.
pub struct TestUser {
    /// Its name, beginning with `hubt-`.
    pub name: String,
    /// Its home.
    pub home: PathBuf,
}

impl TestUser {
    /// Makes `hubt-<label>-<random>` with [`PASSWORD`] and further arguments for useradd(8).
    pub fn make(label: &str, arguments: &[&str]) -> Result<Self> {
        need_root()?;
        let name = tempfile::Builder::new().prefix(&format!("hubt-{label}-")).rand_bytes(6).tempfile()?;
        let name = name.path().file_name().context("a name")?.to_string_lossy().to_lowercase();
        let home = Path::new("/home").join(&name);
        let mut words = vec!["-m", "-s", "/bin/bash"];
        words.extend(arguments);
        words.push(&name);
        account_tool("useradd", &words)?;
        let user = Self { name, home };
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn()?;
        let line = format!("{}:{PASSWORD}\n", user.name);
        chpasswd.stdin.take().context("chpasswd")?.write_all(line.as_bytes())?;
        ensure!(chpasswd.wait()?.success(), "chpasswd failed");
        Ok(user)
    }

    /// Runs usermod(8) on it.
    pub fn modify(&self, arguments: &[&str]) -> Result<()> {
        account_tool("usermod", &[arguments, &[self.name.as_str()]].concat())
    }

    /// Runs chage(1) on it.
    pub fn age(&self, arguments: &[&str]) -> Result<()> {
        account_tool("chage", &[arguments, &[self.name.as_str()]].concat())
    }

    /// Its uid.
    pub fn uid(&self) -> Result<u32> {
        Ok(nix::unistd::User::from_name(&self.name)?.context("the account")?.uid.as_raw())
    }

    /// The processes that run as it.
    pub fn processes(&self) -> Result<usize> {
        let output = Command::new("pgrep").args(["-c", "-U", &self.uid()?.to_string()]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }
}

impl Drop for TestUser {
    fn drop(&mut self) {
        // A test that failed may have left processes; the account must go all the same.
        let _ = account_tool("userdel", &["-f", "-r", &self.name]);
    }
}

/// Runs one of shadow's programs, again while another one holds the lock on the account files.
fn account_tool(program: &str, arguments: &[&str]) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let Output { status, stderr, .. } = Command::new(program).args(arguments).output()?;
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&stderr);
        ensure!(said.contains("lock") && Instant::now() < until, "{program} {arguments:?}: {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
