//! The note that a session keeps for the hub: with it a lost database gets a running server's rows back.

use std::time::SystemTime;

use hubd_store::ServerStart;
use serde::{Deserialize, Serialize};

use super::names::Which;

/// What the note says; hashes only, nothing that opens anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    token_hash: String,
    token_prefix: String,
    client_secret_hash: String,
    client_id: String,
    redirect_uri: String,
    server_url: String,
}

impl Note {
    /// The note of a start.
    pub fn of(start: &ServerStart) -> Self {
        Self {
            token_hash: start.token_hash.clone(),
            token_prefix: start.token_prefix.clone(),
            client_secret_hash: start.client_secret_hash.clone(),
            client_id: start.client_id.clone(),
            redirect_uri: start.redirect_uri.clone(),
            server_url: start.server_url.clone(),
        }
    }

    /// Reads a note back; `None` if another program wrote it.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The rows of the server that carries this note.
    pub fn rows(
        self,
        which: &Which,
        token_scopes: Vec<String>,
        client_scopes: Vec<String>,
        now: SystemTime,
    ) -> ServerStart {
        ServerStart {
            user: which.user.to_string(),
            server: which.server.to_string(),
            token_hash: self.token_hash,
            token_prefix: self.token_prefix,
            client_secret_hash: self.client_secret_hash,
            client_id: self.client_id,
            redirect_uri: self.redirect_uri,
            server_url: self.server_url,
            token_scopes,
            client_scopes,
            user_options: None,
            now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubd_proto::message::NOTE_BYTES_MAX;

    #[test]
    fn a_note_brings_the_rows_back_and_fits_the_longest_names() {
        let which = Which {
            user: "ü".repeat(127).parse().expect("a user"),
            server: "s".repeat(30).parse().expect("a server"),
        };
        let url = which.url("/a/base/url/");
        let start = ServerStart {
            user: which.user.to_string(),
            server: which.server.to_string(),
            token_hash: format!("sha512:1:{}:{}", "0".repeat(16), "a".repeat(128)),
            token_prefix: "abcd".into(),
            client_secret_hash: format!("sha512:16384:{}:{}", "0".repeat(16), "a".repeat(128)),
            client_id: which.client_id(),
            redirect_uri: format!("{url}oauth_callback"),
            server_url: url,
            token_scopes: Vec::new(),
            client_scopes: Vec::new(),
            user_options: None,
            now: SystemTime::UNIX_EPOCH,
        };
        let text = Note::of(&start).text();
        assert!(text.len() <= NOTE_BYTES_MAX, "{}", text.len());
        let note = Note::read(&text).expect("own note");
        let rows = note.rows(&which, Vec::new(), Vec::new(), SystemTime::UNIX_EPOCH);
        assert_eq!((rows.token_hash, rows.client_id), (start.token_hash, start.client_id));
        assert_eq!(Note::read("{}"), None);
        assert_eq!(Note::read("hello"), None);
    }
}
