//! Names of named servers.

use hubd_proto::ServerName;
use unicode_general_category::{GeneralCategory, get_general_category};

use crate::Hub;
use crate::error::HttpError;
use crate::settings::InvalidNamedServers;

pub use crate::pages::urls::segment;

/// Longest display name, in characters, as the column.
const DISPLAY_NAME_CHARACTERS_MAX: usize = 255;

/// Whether a new server may have this name.
pub fn check_name(name: &str) -> Result<(), HttpError> {
    if crate::servers::is_slug(name) {
        Ok(())
    } else {
        Err(HttpError::bad_request(format!("Invalid server_name: '{name}'")))
    }
}

/// Whether a server that is there may be started with its name: one from before JupyterHub 6 may not be.
pub fn check_startable(hub: &Hub, server: &ServerName) -> Result<(), HttpError> {
    let allowed = hub.settings.invalid_named_servers == InvalidNamedServers::AllowStart;
    if allowed || server.is_default() || crate::servers::is_slug(server.as_str()) {
        return Ok(());
    }
    let text = format!("Starting invalid server_name '{server}' is disabled, contact your administrator");
    Err(HttpError::bad_request(text))
}

/// Whether a display name is one line of words.
pub fn check_display_name(name: &str) -> Result<(), HttpError> {
    let good = !name.is_empty()
        && name.chars().count() <= DISPLAY_NAME_CHARACTERS_MAX
        && name.trim() == name
        && !name.contains("  ")
        && name.chars().all(|c| c == ' ' || is_seen(c));
    if good { Ok(()) } else { Err(HttpError::bad_request(format!("Invalid display_name: '{name}'"))) }
}

/// Whether a character shows on a line of text: what turns the direction of others, or joins them, does not.
fn is_seen(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate, Unassigned,
    };
    !matches!(
        get_general_category(c),
        Control
            | Format
            | LineSeparator
            | ParagraphSeparator
            | PrivateUse
            | SpaceSeparator
            | Surrogate
            | Unassigned
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_are_one_line() {
        for good in ["My Srv", "Ünï", "日本 語", "😀", "a\u{301}", &"é".repeat(255)] {
            assert!(check_display_name(good).is_ok(), "{good:?}");
        }
        let unseen = ["a\u{200d}b", "a\u{202e}b", "a\u{a0}b", "a\u{378}", "a\u{e000}", "a\u{2028}b"];
        for bad in ["My  Srv", " a", "a ", "", "a\nb", &"x".repeat(256)].into_iter().chain(unseen) {
            assert!(check_display_name(bad).is_err(), "{bad:?}");
        }
    }
}
