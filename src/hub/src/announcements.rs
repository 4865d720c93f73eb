//! What everybody is told on every page until they dismiss it, kept in a file that people may edit too.
//!
//! The file is a JSON list: `[{"id": "…", "text": "…", "level": "warning", "until": 1790000000}]`. `level`
//! is `info`, `warning` or `danger`; `until`, seconds since 1970, may be missing.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::Hub;
use crate::error::HttpError;

/// How long the file is taken to be as it was: pages are many, news are few.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Most announcements that a page shows.
const SHOWN_MAX: usize = 10;
/// Longest text, in characters: a paragraph.
pub const TEXT_CHARACTERS_MAX: usize = 2000;
/// Longest id, in characters; the hub's own have 16.
const ID_CHARACTERS_MAX: usize = 64;
/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What dismissals name; letters, digits, `-`, `_`. An announcement without one gets one from its text.
    #[serde(default)]
    pub id: String,
    /// The text, shown as text; line breaks stay.
    pub text: String,
    /// How loud it is.
    #[serde(default)]
    pub level: Level,
    /// When it ends by itself, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// How loud an announcement is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    #[default]
    Info,
    /// Plan for it.
    Warning,
    /// Something is wrong.
    Danger,
}

/// What was read last.
#[derive(Default)]
pub struct Announcements(Mutex<Read>);

#[derive(Default)]
struct Read {
    looked: Option<Instant>,
    modified: Option<SystemTime>,
    list: Arc<Vec<Announcement>>,
}

impl Announcements {
    /// All announcements of the file.
    fn all(&self, file: &Path) -> Arc<Vec<Announcement>> {
        let mut read = self.lock();
        if read.looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN) {
            return Arc::clone(&read.list);
        }
        read.looked = Some(Instant::now());
        let modified = std::fs::metadata(file).and_then(|facts| facts.modified()).ok();
        if modified != read.modified {
            read.modified = modified;
            read.list = Arc::new(if modified.is_some() { load(file) } else { Vec::new() });
        }
        Arc::clone(&read.list)
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        // A list is replaced as a whole, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// The announcements of now, oldest first.
    pub fn announcements(&self) -> Vec<Announcement> {
        let now = u64::try_from(self.unix_now()).unwrap_or(0);
        let all = self.announcements.all(&self.settings.announcements_file);
        all.iter()
            .filter(|news| news.until.is_none_or(|until| until > now))
            .take(SHOWN_MAX)
            .cloned()
            .collect()
    }

    /// Adds an announcement.
    ///
    /// # Errors
    /// The text is empty or too long, or the file cannot be written.
    pub fn announce(
        &self,
        text: &str,
        level: Level,
        lasts: Option<Duration>,
    ) -> Result<Announcement, HttpError> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > TEXT_CHARACTERS_MAX {
            let text = format!("An announcement has 1 to {TEXT_CHARACTERS_MAX} characters.");
            return Err(HttpError::bad_request(text));
        }
        let id: String = self.new_token().chars().take(16).collect();
        let now = u64::try_from(self.unix_now()).unwrap_or(0);
        let until = lasts.map(|lasts| now.saturating_add(lasts.as_secs()));
        let news = Announcement { id, text: text.to_owned(), level, until };
        let mut all = self.announcements();
        if all.len() >= SHOWN_MAX {
            return Err(HttpError::bad_request("There are too many announcements. Withdraw one first."));
        }
        all.push(news.clone());
        self.write_announcements(all)?;
        Ok(news)
    }

    /// Takes an announcement back; says whether there was one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn withdraw(&self, id: &str) -> Result<bool, HttpError> {
        let mut all = self.announcements();
        let before = all.len();
        all.retain(|news| news.id != id);
        if all.len() == before {
            return Ok(false);
        }
        self.write_announcements(all)?;
        Ok(true)
    }

    fn write_announcements(&self, all: Vec<Announcement>) -> Result<(), HttpError> {
        let file = &self.settings.announcements_file;
        let mut read = self.announcements.lock();
        write(file, &all).map_err(|error| {
            tracing::error!(%error, file = %file.display(), "cannot write the announcements");
            HttpError::new(http::StatusCode::SERVICE_UNAVAILABLE, "The announcements cannot be written.")
        })?;
        *read = Read::default();
        Ok(())
    }
}

/// Reads the file; one that cannot be read tells nothing, and the log says why.
fn load(file: &Path) -> Vec<Announcement> {
    let too_long = std::fs::metadata(file).is_ok_and(|facts| facts.len() > FILE_BYTES_MAX);
    let read = || -> Result<Vec<Announcement>, String> {
        if too_long {
            return Err(format!("larger than {FILE_BYTES_MAX} bytes"));
        }
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    };
    let mut all = read().unwrap_or_else(|error| {
        tracing::error!(error, file = %file.display(), "cannot read the announcements");
        Vec::new()
    });
    for news in &mut all {
        if !is_id(&news.id) {
            news.id = crate::pages::assets::hash(news.text.as_bytes());
        }
        news.text = news.text.chars().take(TEXT_CHARACTERS_MAX).collect();
    }
    all
}

/// Replaces the file as a whole.
fn write(file: &Path, all: &[Announcement]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let mut output = std::fs::File::create(&new)?;
    output.write_all(serde_json::to_string_pretty(all)?.as_bytes())?;
    output.sync_all()?;
    std::fs::rename(&new, file)
}

/// Whether a text may be an id: it travels in a cookie.
pub fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_CHARACTERS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestHub;

    async fn hub() -> (TestHub, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("news.json");
        (TestHub::with(|settings| settings.announcements_file = file).await, dir)
    }

    #[tokio::test]
    async fn an_announcement_is_kept_until_it_is_withdrawn() {
        let (test, _dir) = hub().await;
        let news = test.hub.announce(" Maintenance\ntonight ", Level::Warning, None).unwrap();
        assert_eq!(test.hub.announcements(), std::slice::from_ref(&news));
        assert_eq!(news.text, "Maintenance\ntonight");
        assert!(test.hub.withdraw(&news.id).unwrap() && !test.hub.withdraw(&news.id).unwrap());
        assert!(test.hub.announcements().is_empty());
    }

    #[tokio::test]
    async fn what_somebody_writes_into_the_file_is_shown() {
        let (test, dir) = hub().await;
        let text = r#"[{"text": "hello"}, {"text": "old", "until": 1}, {"id": "a;b", "text": "x"}]"#;
        std::fs::write(dir.path().join("news.json"), text).unwrap();
        let shown = test.hub.announcements();
        assert_eq!(shown.iter().map(|news| news.text.as_str()).collect::<Vec<_>>(), ["hello", "x"]);
        assert!(shown.iter().all(|news| is_id(&news.id)), "{shown:?}");
    }

    #[tokio::test]
    async fn what_is_no_announcement_is_refused() {
        let (test, dir) = hub().await;
        assert!(test.hub.announce("  ", Level::Info, None).is_err());
        assert!(test.hub.announce(&"x".repeat(TEXT_CHARACTERS_MAX + 1), Level::Info, None).is_err());
        std::fs::write(dir.path().join("news.json"), "no json").unwrap();
        assert!(test.hub.announcements().is_empty());
    }
}
