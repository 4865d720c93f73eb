//! Lines of a script that are no requests to compare: they hold servers back, let them go, and wait for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hubd_tests::until;
use serde_json::Value;

use super::script::Actors;

/// How long a server may take to get where it is waited for, on a machine that is busy with a build.
const LIMIT: Duration = Duration::from_secs(60);

/// What such a line does.
pub enum Act {
    /// `hold start NAME` or `hold stop NAME`: servers of NAME neither listen, or do not end, from now on.
    Hold(String),
    /// `release start NAME`: they may.
    Release(String),
    /// `start NAME` or `start NAME/SERVER`: starts it in both hubs and waits until it is ready.
    Start(String),
    /// `wait NAME ready`, `stopped` or `gone`; NAME may have a server. Gone is also forgotten.
    Wait(String, String),
}

impl Act {
    /// Reads a line, if it is one of these.
    pub fn parse(line: &str) -> Option<Self> {
        let own = |text: &str| text.to_owned();
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["hold", what, name] => Some(Self::Hold(format!("hold-{what}-{name}"))),
            ["release", what, name] => Some(Self::Release(format!("hold-{what}-{name}"))),
            ["start", name] => Some(Self::Start(own(name))),
            ["wait", name, state] => Some(Self::Wait(own(name), own(state))),
            _ => None,
        }
    }
}

/// Where the program of the servers lies: it looks there for what holds it.
pub struct Servers(PathBuf);

impl Servers {
    /// Those that run `program`.
    pub fn of(program: &Path) -> Self {
        Self(program.parent().unwrap().to_owned())
    }

    /// Does what a line says, in both hubs.
    pub fn act(&self, act: &Act, hubs: [&mut Actors; 2]) {
        match act {
            Act::Hold(name) => fs::write(self.0.join(name), "").unwrap(),
            Act::Release(name) => fs::remove_file(self.0.join(name)).unwrap(),
            Act::Start(name) => {
                for hub in hubs {
                    let answer = hub.call("POST", &format!("/hub/api/users/{}", path(name)));
                    assert!([201, 202].contains(&answer.status), "start {name}: {}", answer.text());
                    wait(hub, name, "ready");
                }
            }
            Act::Wait(name, state) => hubs.into_iter().for_each(|hub| wait(hub, name, state)),
        }
    }
}

fn parts(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((name, ""))
}

fn path(name: &str) -> String {
    match parts(name) {
        (user, "") => format!("{user}/server"),
        (user, server) => format!("{user}/servers/{server}"),
    }
}

fn wait(hub: &mut Actors, name: &str, state: &str) {
    let (user, server) = parts(name);
    until(&format!("{name} to be {state}"), LIMIT, || {
        let query = if state == "gone" { "?include_stopped_servers" } else { "" };
        let model = hub.call("GET", &format!("/hub/api/users/{user}{query}")).json();
        let found: Option<&Value> = model["servers"].get(server);
        let there = match state {
            "ready" => found.is_some_and(|found| found["ready"] == true),
            "stopped" | "gone" => found.is_none(),
            other => panic!("what is {other}?"),
        };
        there.then_some(())
    });
}
