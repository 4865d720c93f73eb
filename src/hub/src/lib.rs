//! The hub: pages, REST API, OAuth provider and the life of user servers.
//!
//! It answers the requests that the proxy does not route to a user server, keeps its records in
//! `hubd-store`, and asks the root helper for logins and starts. It never starts programs, changes
//! uid, or reads the environment or the clock: what it needs of them is handed in (see [`Hub::new`]).
//!
//! Start at [`hub`] for what there is, at [`routes`] for what can be asked.

pub mod accounts;
pub mod announcements;
pub mod api;
mod around;
pub mod auth;
pub mod clock;
pub mod edge;
pub mod ending;
pub mod error;
mod events;
mod handler_names;
pub mod helper;
pub mod hub;
pub mod login;
pub mod metrics;
mod others;
pub mod pages;
pub mod routes;
pub mod servers;
pub mod services;
pub mod settings;
pub mod subdomains;
#[cfg(test)]
pub(crate) mod test_support;

pub use hub::Hub;
pub use settings::Settings;
