//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nowhere: it is the option's default.
    Default,
    /// In a file, at a line and column counted from 1.
    File(PathBuf, usize, usize),
    /// A file as a whole, for instance one that cannot be read.
    WholeFile(PathBuf),
    /// On the command line.
    CommandLine,
    /// In an environment variable.
    Environment(&'static str),
    /// In a credential that systemd handed over.
    Credential(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::WholeFile(path) => write!(f, "{}", path.display()),
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Credential(name) => write!(f, "systemd credential {name}"),
        }
    }
}

/// One thing that is wrong: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub origin: Origin,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub cure: String,
}

impl Problem {
    /// A problem with its cure.
    pub fn new(origin: &Origin, text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { origin: origin.clone(), text: text.into(), cure: cure.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)?;
        if self.cure.is_empty() { Ok(()) } else { write!(f, "\n    cure: {}", self.cure) }
    }
}

/// Everything that is wrong, in the order of the files; never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} problem{plural} in the configuration; nothing was started", self.0.len())
    }
}

impl std::error::Error for Problems {}
