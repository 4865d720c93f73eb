//! Names that cross the boundary, checked once when they are made.
//!
//! The rules here are the widest that any policy may allow: they keep names printable, bounded and
//! free of what means something in a path. The helper's policy narrows user names further
//! (`username_pattern` in helper.toml(5)); names never become part of a path in any case, the
//! [`SessionId`] does.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Longest user name, in bytes: `LOGIN_NAME_MAX` less its NUL, useradd(8) stops at 32 but directories do not.
pub const USER_NAME_BYTES_MAX: usize = 255;
/// Longest server name, in bytes: what JupyterHub's database column takes.
pub const SERVER_NAME_BYTES_MAX: usize = 255;
/// Longest profile name, in bytes: it is a table name in helper.toml.
pub const PROFILE_NAME_BYTES_MAX: usize = 32;

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// Longer than the limit of its kind, in bytes.
    #[error("the name is longer than {0} bytes")]
    TooLong(usize),
    /// A character that no name of this kind may hold.
    #[error("the name holds the character {0:?}, which is not allowed")]
    Character(char),
    /// A first character that would be taken for something else, such as an option.
    #[error("the name starts with {0:?}, which is not allowed")]
    Start(char),
    /// Not of the form `u<uid>-<16 hex digits>`.
    #[error("not a session id")]
    NotASession,
}

/// A Unix account's name, or in a trial without root the name of a hub user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UserName(String);

/// The name of one of a person's servers, empty for the default server; or the name of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ServerName(String);

/// The name of a table `[profile.NAME]` in helper.toml.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ProfileName(String);

/// One running server: `u<uid>-<16 hex digits of a hash of user and server name>`.
///
/// It names the control socket in `/run/hubd/sessions` and the directory in `/run/hubd/servers`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl UserName {
    /// Checks and takes a user name.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text, USER_NAME_BYTES_MAX, |c| c != '/' && c != ':' && c != '\0')?;
        match text.chars().next() {
            None => Err(NameError::Empty),
            Some(c @ ('-' | '.' | '~')) => Err(NameError::Start(c)),
            Some(_) => Ok(Self(text)),
        }
    }
}

impl ServerName {
    /// Checks and takes a server name; the empty one is the default server.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text, SERVER_NAME_BYTES_MAX, |c| c != '/')?;
        Ok(Self(text))
    }

    /// Whether this is the default server.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

impl ProfileName {
    /// Checks and takes a profile name: `[a-z0-9_-]`, not empty.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text, PROFILE_NAME_BYTES_MAX, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'
        })?;
        if text.is_empty() { Err(NameError::Empty) } else { Ok(Self(text)) }
    }

    /// What a service has in the place of a profile's name.
    pub fn of_a_service() -> Self {
        Self("service".to_owned())
    }

    /// The profile used when none is named.
    pub fn default_profile() -> Self {
        Self("default".to_owned())
    }
}

impl SessionId {
    /// Makes the id of `uid`'s session from the first eight bytes of a hash of user and server name.
    pub fn from_parts(uid: u32, hash: [u8; 8]) -> Self {
        Self(format!("u{uid}-{:016x}", u64::from_be_bytes(hash)))
    }

    /// Checks and takes a session id, for instance a file name from `/run/hubd/sessions`.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let (uid, hash) =
            text.strip_prefix('u').and_then(|rest| rest.split_once('-')).ok_or(NameError::NotASession)?;
        let uid_good = !uid.is_empty() && uid.len() <= 10 && uid.bytes().all(|b| b.is_ascii_digit());
        let hash_good =
            hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if uid_good && hash_good { Ok(Self(text)) } else { Err(NameError::NotASession) }
    }
}

/// The rule all names share: bounded, no control characters, and what `allowed` says.
fn check(text: &str, bytes_max: usize, allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    if text.len() > bytes_max {
        return Err(NameError::TooLong(bytes_max));
    }
    match text.chars().find(|&c| c.is_control() || !allowed(c)) {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

macro_rules! name_traits {
    ($($name:ident),*) => {$(
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

name_traits!(UserName, ServerName, ProfileName, SessionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_of_directories_are_accepted() {
        for good in ["alice", "_apt", "Alice.Smith", "EXAMPLE\\bob", "carol@example.org", "jürgen"] {
            assert!(UserName::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn user_names_that_mean_something_else_are_refused() {
        assert_eq!(UserName::new(""), Err(NameError::Empty));
        assert_eq!(UserName::new("-rf"), Err(NameError::Start('-')));
        assert_eq!(UserName::new(".."), Err(NameError::Start('.')));
        assert_eq!(UserName::new("a/b"), Err(NameError::Character('/')));
        assert_eq!(UserName::new("a\0b"), Err(NameError::Character('\0')));
        assert_eq!(UserName::new("a\nb"), Err(NameError::Character('\n')));
        assert_eq!(UserName::new("x".repeat(256)), Err(NameError::TooLong(255)));
    }

    #[test]
    fn the_default_server_has_an_empty_name() {
        assert!(ServerName::new("").is_ok_and(|name| name.is_default()));
        assert_eq!(ServerName::new("a/b"), Err(NameError::Character('/')));
    }

    #[test]
    fn session_ids_round_trip_and_never_hold_a_path() {
        let id = SessionId::from_parts(1000, [0, 1, 2, 3, 4, 5, 6, 255]);
        assert_eq!(id.as_str(), "u1000-00010203040506ff");
        assert_eq!(SessionId::new(id.as_str()), Ok(id));
        for bad in
            ["", "u1000", "u-00010203040506ff", "u1000-0001", "../u1-00010203040506ff", "u1-00010203040506fF"]
        {
            assert_eq!(SessionId::new(bad), Err(NameError::NotASession), "{bad}");
        }
    }
}
