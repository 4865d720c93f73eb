//! What an operator decides, and what the daemon does then: the real program, with its configuration, command line,
//! environment, sockets, signals and log lines. No helper runs, and nobody's server: people log in by `dummy`.
//!
//! `hubd/src/import/testdata/documents.toml` names these tests for the examples of JupyterHub's documents.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod daemon;
mod listening;
mod logs;
mod people;
mod reload;
mod secrets;
mod systemd;
mod words;
