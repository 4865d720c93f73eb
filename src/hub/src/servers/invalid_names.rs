//! Named servers from before JupyterHub 6, whose names may be none any more: `allow_existing_invalid_named_servers`.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use hubd_store::{Spawner, StoreError};
use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization;

use super::names::is_slug;
use crate::Hub;
use crate::auth::hex;
use crate::settings::InvalidNamedServers;

/// Longest name, in characters.
const NAME_CHARACTERS_MAX: usize = 30;
/// Characters of the hash that parts two names which would become the same.
const HASH_CHARACTERS: usize = 8;

impl Hub {
    /// Renames such servers if the configuration says so, and counts them otherwise. For the start.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub(crate) fn look_at_server_names(&self) -> Result<(), StoreError> {
        let all = self.store.named_spawners()?;
        let (invalid, valid): (Vec<Spawner>, Vec<Spawner>) =
            all.into_iter().partition(|row| !is_slug(&row.name));
        if invalid.is_empty() {
            return Ok(());
        }
        if self.settings.invalid_named_servers != InvalidNamedServers::Autorename {
            tracing::warn!(
                "{} named servers have names that do not comply with restrictions introduced in JupyterHub 6",
                invalid.len()
            );
            return Ok(());
        }
        let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in valid.into_iter().chain(invalid.iter().cloned()) {
            taken.entry(row.user).or_default().insert(row.name);
        }
        for row in invalid {
            self.rename_invalid(&row, taken.entry(row.user.clone()).or_default())?;
        }
        Ok(())
    }

    fn rename_invalid(&self, row: &Spawner, taken: &mut BTreeSet<String>) -> Result<(), StoreError> {
        let (user, name) = (&row.user, &row.name);
        if row.started.is_some() || row.active {
            tracing::error!(
                "Named server user='{user}' server='{name}' has an invalid name but is already running, not renaming"
            );
            return Ok(());
        }
        let mut new = slug(name, NAME_CHARACTERS_MAX);
        if taken.contains(&new) {
            let hash = hex(digest(&SHA256, name.as_bytes()).as_ref());
            let hash: String = hash.chars().take(HASH_CHARACTERS).collect();
            new = format!("{}-{hash}", slug(name, NAME_CHARACTERS_MAX - HASH_CHARACTERS - 1));
        }
        tracing::info!("Renaming server user='{user}' server='{name}' to '{new}'");
        self.store.ensure_spawner(user, name, Some(name))?;
        self.store.rename_spawner(user, name, &new)?;
        taken.insert(new);
        Ok(())
    }
}

/// A name made of another, as JupyterHub's `_extract_safe_name`: letters without their accents, all else a dash.
fn slug(name: &str, characters_max: usize) -> String {
    let is_accent = |c: &char| get_general_category(*c) == GeneralCategory::NonspacingMark;
    let plain: String = name.nfkd().filter(|c| !is_accent(c)).collect();
    let plain = plain.to_lowercase();
    let words: Vec<&str> =
        plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut slug = words.join("-");
    slug.truncate(characters_max);
    if slug.starts_with(|c: char| c.is_ascii_digit()) {
        slug.truncate(characters_max.saturating_sub("x-".len()));
        slug.insert_str(0, "x-");
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "x".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestHub;

    #[test]
    fn names_are_made_as_jupyterhub_makes_them() {
        for (name, made) in [
            ("My Server", "my-server"),
            ("a__b--c", "a-b-c"),
            ("Über straße", "uber-stra-e"),
            ("1st", "x-1st"),
            ("日本", "x"),
            ("日本 1", "x-1"),
            ("½ Øre", "x-1-2-re"),
            ("ﬁle ①②", "file-12"),
            ("Ǆungla K", "dzungla-k"),
            ("a\u{301}e\u{903}i\u{e34}o", "ae-io"),
            ("İstanbul", "istanbul"),
            ("Tiếng Việt đẹp", "tieng-viet-ep"),
            ("x².y", "x2-y"),
            ("-a-", "a"),
            ("-", "x"),
            ("x".repeat(40).as_str(), "x".repeat(30).as_str()),
        ] {
            assert_eq!(slug(name, NAME_CHARACTERS_MAX), made, "{name}");
            assert!(is_slug(made));
        }
    }

    #[tokio::test]
    async fn old_names_are_replaced_once_and_the_old_one_is_shown() {
        let test = TestHub::with(|settings| {
            settings.invalid_named_servers = InvalidNamedServers::Autorename;
        })
        .await;
        let store = &test.hub.store;
        store.ensure_user("alice", "c", test.hub.clock.now()).unwrap();
        for name in ["My Lab", "my_lab", "fine"] {
            store.ensure_spawner("alice", name, None).unwrap();
        }
        for _ in 0..2 {
            test.hub.look_at_server_names().unwrap();
            let rows = store.spawners_of("alice").unwrap();
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            assert_eq!(names, ["my-lab", "my-lab-1583e1b1", "fine"]);
            assert_eq!(rows[0].display_name.as_deref(), Some("My Lab"));
        }
    }
}
