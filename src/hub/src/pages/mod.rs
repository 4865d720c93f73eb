//! What people see. Handlers read a request and render a template; decisions live elsewhere.

/// The templates, compiled once.
pub struct Templates {}

impl Templates {
    /// Loads the built-in templates.
    pub fn new() -> Self {
        todo!()
    }
}
