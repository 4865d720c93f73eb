//! What the hub asks the machine about accounts.

/// The machine's accounts and groups (NSS). Lookups may block, on LDAP for instance.
pub trait Accounts: Send + Sync {
    /// Names of the groups that an account is in; nothing if there is no such account.
    fn groups(&self, account: &str) -> Option<Vec<String>>;

    /// Whether there is such an account. An error is no proof that there is none.
    fn exists(&self, account: &str) -> std::io::Result<bool>;
}
