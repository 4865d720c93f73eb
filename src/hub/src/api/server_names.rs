//! Names of named servers.

use crate::error::HttpError;

pub use crate::pages::urls::segment;

/// Longest name, in characters: JupyterHub's limit, chosen for host names and labels.
const NAME_CHARACTERS_MAX: usize = 30;
/// Longest display name, in characters, as the column.
const DISPLAY_NAME_CHARACTERS_MAX: usize = 255;

/// Whether a name is its own slug: a letter, then letters, digits and single dashes.
pub fn check_name(name: &str) -> Result<(), HttpError> {
    let letter = |byte: &u8| byte.is_ascii_lowercase();
    let plain = |byte: &u8| letter(byte) || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let good = bytes.len() <= NAME_CHARACTERS_MAX
        && bytes.first().is_some_and(letter)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
        && !name.contains("--");
    if good { Ok(()) } else { Err(HttpError::bad_request(format!("Invalid server_name: '{name}'"))) }
}

/// Whether a display name is one line of words.
pub fn check_display_name(name: &str) -> Result<(), HttpError> {
    let good = !name.is_empty()
        && name.chars().count() <= DISPLAY_NAME_CHARACTERS_MAX
        && name.trim() == name
        && !name.contains("  ")
        && !name.chars().any(|c| c.is_control() || (c.is_whitespace() && c != ' '));
    if good { Ok(()) } else { Err(HttpError::bad_request(format!("Invalid display_name: '{name}'"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_slugs() {
        for good in ["test", "a", "my-srv", "a-b-c-d", &"x".repeat(30)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["Test", "1abc", "my--srv", "-a", "a-", "a_b", "über", "", "a.b", &"x".repeat(31)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn display_names_are_one_line() {
        assert!(check_display_name("My Srv").is_ok());
        for bad in ["My  Srv", " a", "a ", "", "a\nb", &"x".repeat(256)] {
            assert!(check_display_name(bad).is_err(), "{bad:?}");
        }
    }
}
