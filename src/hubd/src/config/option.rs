//! What a row of the table of options says.

use super::value::Kind;

/// One option.
#[derive(Debug, PartialEq)]
pub struct Opt {
    /// JupyterHub's class, a table in hubd.toml.
    pub class: &'static str,
    /// The trait, a key in that table.
    pub key: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// The default, as TOML; empty for an option that has none.
    pub default: &'static str,
    /// One or two sentences.
    pub help: &'static str,
    /// The short name on the command line without its dashes, and what its value is called in the help.
    pub flag: Option<(&'static str, &'static str)>,
    /// Whether `systemctl reload` applies a change.
    pub live: bool,
}

/// A row of the table: an option that needs a restart and has no short name on the command line.
pub const fn opt(
    class: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Opt {
    Opt { class, key, kind, default, help, flag: None, live: false }
}

impl Opt {
    /// The same with a short name: `--name` beside `--Class.key`.
    pub const fn flag(self, name: &'static str, value: &'static str) -> Self {
        Self { flag: Some((name, value)), ..self }
    }

    /// The same, applied by a reload.
    pub const fn live(self) -> Self {
        Self { live: true, ..self }
    }
}
