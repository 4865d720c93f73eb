//! What a start tells on its way, as JupyterHub words it.

use super::{Progress, Snapshot, State};

impl Snapshot {
    /// A server that nobody has heard of.
    pub(super) fn stopped() -> Self {
        Self {
            state: State::Stopped { failure: None },
            started: None,
            pid: None,
            progress: Vec::new(),
            figures: None,
        }
    }
}

impl Progress {
    fn event(progress: u8, message: String) -> Self {
        Self { progress, message, html_message: None, ready: false, failed: false, url: None }
    }

    /// A step on the way.
    pub(super) fn step(progress: u8, message: &str) -> Self {
        Self::event(progress, message.to_owned())
    }

    /// The last event of a start that succeeded, as JupyterHub words it.
    pub(crate) fn ready(url: &str) -> Self {
        let html = url.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        Self {
            html_message: Some(format!("Server ready at <a href=\"{html}\">{html}</a>")),
            ready: true,
            url: Some(url.to_owned()),
            ..Self::event(100, format!("Server ready at {url}"))
        }
    }

    /// The last event of a start that failed.
    pub(crate) fn failed(message: &str) -> Self {
        let message = match message {
            "Spawn cancelled" => message.to_owned(),
            message => format!("Spawn failed: {message}"),
        };
        Self { failed: true, ..Self::event(100, message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_event_is_jupyterhubs() {
        let event = serde_json::to_value(Progress::ready("/user/x/")).expect("JSON");
        let wanted = serde_json::json!({
            "progress": 100, "ready": true, "message": "Server ready at /user/x/",
            "html_message": "Server ready at <a href=\"/user/x/\">/user/x/</a>", "url": "/user/x/",
        });
        assert_eq!(event, wanted);
        let event = serde_json::to_value(Progress::step(0, "Server requested")).expect("JSON");
        assert_eq!(event, serde_json::json!({"progress": 0, "message": "Server requested"}));
    }
}
