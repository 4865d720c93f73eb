//! The pages as a browser sees them, on a real database and a helper that pretends.

mod account;
mod admin;
pub(crate) mod browser;
mod failures;
mod login;
mod options;
mod overrides;
mod servers;
mod shares;
mod subdomains;
mod token;
mod urls;
