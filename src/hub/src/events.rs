//! Structured events: JupyterHub's `EventLog`, as lines of JSON in files.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Hub;

/// The one schema that JupyterHub registers, and its version.
const SCHEMA: &str = "https://schema.jupyter.org/jupyterhub/events/server-action";
const SCHEMA_VERSION: &str = "1";

/// Who may read a file of events: it says who worked when.
const FILE_MODE: u32 = 0o640;

impl Hub {
    /// A server became ready (`start`), or ended because somebody asked for it (`stop`).
    pub(crate) fn server_event(&self, action: &str, user: &str, server: &str) {
        let files = &self.settings.event_files;
        if files.is_empty() {
            return;
        }
        let line = line(action, user, server, self.clock.now());
        for file in files {
            if let Err(error) = append(file, &line) {
                tracing::error!(file = %file.display(), %error, "cannot write an event");
            }
        }
    }
}

/// The event with the fields of JupyterHub's envelope, whose times end with `+00:00Z`.
fn line(action: &str, user: &str, server: &str, now: SystemTime) -> String {
    let now = Timestamp::try_from(now).unwrap_or_default();
    let event: Value = json!({
        "__timestamp__": now.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00Z").to_string(),
        "__schema__": SCHEMA,
        "__schema_version__": SCHEMA_VERSION,
        "__metadata_version__": 1,
        "action": action,
        "username": user,
        "servername": server,
    });
    format!("{event}\n")
}

/// One write for one line, so that lines of several writers do not mix.
fn append(file: &Path, line: &str) -> std::io::Result<()> {
    let mut file = File::options().append(true).create(true).mode(FILE_MODE).open(file)?;
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{SOON, TestHub, server, started, user};

    #[tokio::test]
    async fn a_start_and_a_stop_are_lines_with_jupyterhubs_fields() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("events.jsonl");
        let test = TestHub::with(|settings| settings.event_files = vec![file.clone()]).await;
        started(&test.hub, "alice").await;
        test.hub.stop_server(&user("alice"), &server("")).await.unwrap();
        test.hub.wait_server(&user("alice"), &server(""), SOON).await;
        let text = std::fs::read_to_string(&file).unwrap();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let actions: Vec<&Value> = events.iter().map(|event| &event["action"]).collect();
        assert_eq!(actions, ["start", "stop"]);
        for event in &events {
            assert_eq!((&event["username"], &event["servername"]), (&json!("alice"), &json!("")));
            assert_eq!((&event["__schema__"], &event["__schema_version__"]), (&json!(SCHEMA), &json!("1")));
            assert_eq!(event["__metadata_version__"], 1);
            let time = event["__timestamp__"].as_str().unwrap();
            assert!(time.len() == 33 && time.ends_with("+00:00Z"), "{time}");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_stops_nothing() {
        let test = TestHub::with(|settings| settings.event_files = vec!["/nonexistent/events".into()]).await;
        started(&test.hub, "alice").await;
        assert!(test.hub.server(&user("alice"), &server("")).state.is_active());
    }
}
