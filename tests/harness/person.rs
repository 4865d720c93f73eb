//! Throwaway accounts.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{processes_of, run, try_run, until};

/// How long processes of a removed person may take to vanish after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What is special about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonKind {
    /// Nothing: a home, a password, a shell.
    Ordinary,
    /// The account has expired, the password is right.
    Expired,
    /// The shell is `/usr/sbin/nologin`.
    NoLogin,
    /// The uid is below the smallest one of people.
    System,
    /// The home directory has mode 0555: its owner cannot write there.
    ClosedHome,
}

/// A real account of this machine, which is removed with its processes and home when dropped.
pub struct Person {
    /// The account's name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// Its uid.
    pub uid: u32,
    /// Its home directory.
    pub home: PathBuf,
}

impl Person {
    /// Makes an account; one of that name left over from a run that was killed is removed first.
    ///
    /// # Panics
    /// When `useradd` and its friends fail, and for a name without the prefix `hubt-`: only those
    /// may be removed.
    pub fn new(name: &str, kind: PersonKind) -> Self {
        assert!(name.starts_with("hubt-"), "names of test accounts start with hubt-");
        if let Some(left_over) = Self::find(name) {
            drop(left_over);
        }
        let shell = if kind == PersonKind::NoLogin { "/usr/sbin/nologin" } else { "/bin/bash" };
        let mut arguments = vec!["--create-home", "--shell", shell, "--user-group"];
        if kind == PersonKind::System {
            arguments.push("--system");
        }
        arguments.push(name);
        run("useradd", &arguments);
        let person = Self::find(name).expect("useradd made the account");
        person.set_password();
        match kind {
            PersonKind::Expired => _ = run("chage", &["--expiredate", "0", name]),
            PersonKind::ClosedHome => {
                run("chmod", &["0555", &person.home.to_string_lossy()]);
            }
            PersonKind::Ordinary | PersonKind::NoLogin | PersonKind::System => {}
        }
        person
    }

    fn find(name: &str) -> Option<Self> {
        let entry = try_run("getent", &["passwd", name]).ok()?;
        let fields: Vec<&str> = entry.trim().split(':').collect();
        let uid = fields.get(2)?.parse().ok()?;
        let home = PathBuf::from(fields.get(5)?);
        Some(Self { name: name.to_owned(), password: format!("pass of {name}"), uid, home })
    }

    fn set_password(&self) {
        use std::io::Write as _;
        let mut child = std::process::Command::new("chpasswd")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("chpasswd can be run");
        let line = format!("{}:{}\n", self.name, self.password);
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "chpasswd failed");
    }

    /// Ends every process of this account, at once.
    pub fn kill_processes(&self) {
        until(&format!("the end of the processes of {}", self.name), KILL_LIMIT, || {
            let ids = processes_of(self.uid);
            for id in &ids {
                let _ = kill(Pid::from_raw(*id), Signal::SIGKILL);
            }
            ids.is_empty().then_some(())
        });
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.kill_processes();
        if let Err(error) = try_run("userdel", &["--remove", &self.name]) {
            // Mail spools that never existed are mentioned too; the account itself must be gone.
            if try_run("getent", &["passwd", &self.name]).is_ok() {
                eprintln!("{} cannot be removed: {error}", self.name);
            }
        }
    }
}
