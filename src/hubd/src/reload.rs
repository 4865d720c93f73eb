//! SIGHUP: what of a changed configuration is applied to the running daemon, and what waits for a restart.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use hubd_hub::Hub;
use hubd_hub::settings::{AuthenticatorKind, AuthenticatorSettings};
use hubd_proxy::Tls;
use serde::Serialize;

use crate::config::{Argument, Reach, Values, access};
use crate::logging::Log;
use crate::run::{self, Environment};

/// The configuration that is in use, and what a new one can change.
pub struct Reloader {
    /// The file named with `-f`.
    pub file: Option<PathBuf>,
    /// The command line.
    pub arguments: Vec<Argument>,
    /// What of the environment decides anything.
    pub environment: Environment,
    /// The values in use; those that wait for a restart are the old ones.
    pub values: Mutex<Values>,
    /// What logs.
    pub log: Log,
    /// The hub.
    pub hub: Arc<Hub>,
    /// Certificates.
    pub tls: Option<Arc<Tls>>,
}

/// What a reload did.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Options that changed and are applied, as `Class.key`, and certificates.
    pub applied: Vec<String>,
    /// Options that changed and wait for a restart.
    pub needs_restart: Vec<String>,
    /// What is wrong; if the configuration is, nothing of it is applied.
    pub problems: Vec<String>,
}

impl Reloader {
    /// Reads the configuration again and applies what can be applied.
    pub fn reload(&self) -> Report {
        let mut report = Report::default();
        self.log.reopen();
        match self.tls.as_deref().map(Tls::reload) {
            None => {}
            Some(Ok(())) => report.applied.push("certificates and keys".to_owned()),
            Some(Err(error)) => report.problems.push(format!("the old certificate stays in use: {error}")),
        }
        match run::configured(self.file.as_deref(), &self.arguments, &self.environment) {
            Ok((values, plan)) => {
                let mut old = self.values.lock().unwrap_or_else(PoisonError::into_inner);
                let reach = self.reach(&plan.settings.authenticator.kind);
                for change in old.changes(&values, reach) {
                    let list = if change.live { &mut report.applied } else { &mut report.needs_restart };
                    list.push(change.name);
                }
                self.log.set_levels(&plan.log_levels);
                if reach == Reach::All {
                    self.apply(plan.settings.authenticator, &values, &mut report);
                }
                old.take_live(values, reach);
            }
            Err(problems) => report.problems.push(problems.to_string()),
        }
        report
    }

    /// Rules for another authenticator wait for it, which a restart brings.
    fn reach(&self, new: &AuthenticatorKind) -> Reach {
        let old = &self.hub.access.load().kind;
        if std::mem::discriminant(old) == std::mem::discriminant(new) { Reach::All } else { Reach::Logs }
    }

    /// Exchanges the rules of who may log in.
    fn apply(&self, new: AuthenticatorSettings, values: &Values, report: &mut Report) {
        let kind: AuthenticatorKind = self.hub.access.load().kind.clone();
        for warning in access::warnings(values, &new) {
            tracing::warn!("{warning}");
        }
        self.hub.access.store(Arc::new(AuthenticatorSettings { kind, ..new }));
        if let Err(error) = self.hub.prepare_people() {
            report.problems.push(format!("cannot bring the records up to date: {error}"));
        }
    }
}

impl Report {
    /// Writes it to the log.
    pub fn log(&self) {
        match self.applied.as_slice() {
            [] => tracing::info!("reload: nothing changed that can be applied"),
            applied => tracing::info!("reload: applied {}", applied.join(", ")),
        }
        if !self.needs_restart.is_empty() {
            tracing::warn!(
                "reload: changed, but only a restart applies it: {}\n    cure: systemctl restart hubd; servers keep running",
                self.needs_restart.join(", ")
            );
        }
        for problem in &self.problems {
            tracing::error!("reload: {problem}");
        }
    }
}
