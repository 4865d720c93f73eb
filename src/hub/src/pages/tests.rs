//! The pages as a browser sees them, on a real database and a helper that pretends.

mod admin;
mod browser;
mod login;
mod servers;
mod shares;
mod subdomains;
mod token;
mod urls;
