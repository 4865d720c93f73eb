//! The root helper over its socket, with real PAM accounts: everything that a stolen daemon could ask.
#![allow(clippy::expect_used)]

mod accounts;
mod answering;
mod hostile;
mod kerberos;
mod kills;
mod limits;
mod logins;
mod permission;
mod protocol;
mod refusals;
mod replay;
mod same_as_ssh;
mod scarcity;
mod services;
mod sessions;
mod surroundings;
mod syslog;
mod trial;
