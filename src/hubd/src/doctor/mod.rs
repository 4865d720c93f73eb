//! `hubd doctor`: looks for what keeps people from working, and says how to mend it. It changes nothing.
//!
//! `access.rs` looks at what the daemon may read, `files.rs` at secrets, certificates and root's policy, `profiles.rs` at
//! what it lets start, `pam.rs` at the PAM service, `system.rs` at sockets, ports, disk, kernel and clock.

mod access;
mod files;
mod pam;
mod profiles;
mod system;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hubd_hub::settings::AuthenticatorKind;
use serde::Serialize;

use crate::cli::CommandLine;
use crate::run::{self, Environment};

/// Root's policy.
const POLICY: &str = "/etc/jupyterhub/helper.toml";

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Good,
    /// It could not be looked at, or will be bad soon.
    Warning,
    /// Somebody cannot work because of it.
    Bad,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub what: String,
    /// What to do: a command where there is one.
    pub cure: String,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { severity: Severity::Good, what: what.into(), cure: String::new() }
    }

    fn warning(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), cure: cure.into() }
    }

    fn bad(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { severity: Severity::Bad, what: what.into(), cure: cure.into() }
    }
}

/// What is looked at: the files of the kernel and of services below a root, and the time.
struct Machine {
    root: PathBuf,
    now: SystemTime,
}

impl Machine {
    /// The machine that this process runs on.
    fn this() -> Self {
        Self { root: PathBuf::from("/"), now: SystemTime::now() }
    }

    /// A path below the root.
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file, if there is one.
    fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok()
    }
}

/// Looks at everything.
pub fn findings(command_line: &CommandLine, environment: &Environment) -> Vec<Finding> {
    let (mut found, machine) = (Vec::new(), Machine::this());
    // With a configuration that cannot be read, what is usual is looked at.
    let (mut uses_pam, mut is_trial) = (true, false);
    match run::configured(command_line.config.as_deref(), command_line.arguments(), environment) {
        Ok((values, plan)) => {
            found.push(Finding::good(format!("the configuration is good: {}", plan.public_url)));
            for warning in &values.warnings {
                found.push(Finding::warning(format!("{}: {}", warning.origin, warning.text), &warning.cure));
            }
            let running = system::running(&plan, &mut found);
            if !running {
                system::ports(&plan, &mut found);
            }
            files::secrets(&plan, &values, &mut found);
            files::usable(&plan, &mut found);
            files::certificates(&plan, &machine, &mut found);
            system::helper(&plan, &mut found);
            system::disk(&plan, &mut found);
            system::selinux(&plan, &machine, &mut found);
            if !plan.simple_spawner {
                access::readable(&plan, &values, &mut found);
            }
            uses_pam = matches!(plan.settings.authenticator.kind, AuthenticatorKind::Pam);
            is_trial = plan.simple_spawner;
        }
        Err(problems) => {
            for problem in problems.0 {
                found.push(Finding::bad(format!("{}: {}", problem.origin, problem.text), problem.cure));
            }
        }
    }
    // The helper of a trial has a policy of its own, wherever that is.
    let policy = (!is_trial).then(|| files::policy(Path::new(POLICY), &mut found));
    if let Some(policy) = policy.filter(|_| uses_pam) {
        pam::service(&policy.pam_service, &mut found);
    }
    system::cgroups(&machine, &mut found);
    system::clock(&machine, system::installed(), &mut found);
    found
}

/// The findings as text, the worst last, where the eye is.
pub fn text(found: &[Finding]) -> String {
    let mut text = String::new();
    for severity in [Severity::Good, Severity::Warning, Severity::Bad] {
        for finding in found.iter().filter(|finding| finding.severity == severity) {
            let mark = match severity {
                Severity::Good => "ok     ",
                Severity::Warning => "warning",
                Severity::Bad => "PROBLEM",
            };
            text += &format!("{mark} {}\n", finding.what);
            if !finding.cure.is_empty() {
                text += &format!("        cure: {}\n", finding.cure);
            }
        }
    }
    let bad = found.iter().filter(|finding| finding.severity == Severity::Bad).count();
    text + &match bad {
        0 => "nothing is wrong\n".to_owned(),
        1 => "1 problem\n".to_owned(),
        bad => format!("{bad} problems\n"),
    }
}

/// Whether anything is wrong.
pub fn is_ill(found: &[Finding]) -> bool {
    found.iter().any(|finding| finding.severity == Severity::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_last_with_their_cure() {
        let found =
            [Finding::bad("no helper", "start it"), Finding::good("disk"), Finding::warning("old", "")];
        let text = text(&found);
        assert!(text.find("disk") < text.find("old") && text.find("old") < text.find("no helper"), "{text}");
        assert!(text.ends_with("cure: start it\n1 problem\n"), "{text}");
        assert!(is_ill(&found) && !is_ill(&found[1..]));
    }
}
