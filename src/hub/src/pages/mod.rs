//! What people see: login, home, start and its progress, stop, logout, and every error.
//!
//! A handler reads a [`Visit`], asks the hub, and renders a template; decisions live elsewhere. URLs,
//! statuses, redirects and the marks that scripts look for in the pages are JupyterHub's. The lines that
//! join URLs and handlers are in [`crate::routes`].

pub mod accept_share;
pub mod access_log;
pub mod admin;
pub mod announcement;
pub mod assets;
pub mod edge;
pub mod errors;
pub mod form;
pub mod guard;
pub mod headers;
pub mod home;
pub mod kept;
pub mod language;
pub mod login;
pub mod logins;
pub mod logout;
mod multipart;
pub mod outside;
pub mod pending;
pub mod server_log;
pub mod share;
pub mod spawn;
pub mod spawn_form;
pub mod stop;
pub mod templates;
pub mod token;
pub mod urls;
pub mod user_url;
mod variables;
pub mod visit;

pub use errors::{PageError, backend_failed};
pub use templates::Templates;
pub use visit::Visit;

#[cfg(test)]
pub(crate) mod tests;
