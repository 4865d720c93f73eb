//! The requests: one a line, sent to both hubs in turn.
//!
//! ```text
//! setup WHO METHOD TARGET {BODY} => NAME=/json/pointer
//! WHO METHOD TARGET | Header: value | Header: value {BODY} => NAME=/json/pointer
//! ```
//!
//! `WHO` is `nobody`, the name of a token that an earlier line kept, or `@NAME`, a browser in which NAME is
//! logged in. A target that begins with `/hub`, `/user` or `/services` is taken as it is; others are below
//! `/hub/api`. `{NAME}` stands for what was kept, `{xsrf}` for the browser's token. A body begins with `{`,
//! `[` or `"` after a blank, or with `<<` when it has another form. `setup` lines go to JupyterHub only, before
//! hubd gets its copy of the database; `setup nobody LOGIN NAME` is a browser's. Lines such as `hold start NAME` are
//! those of [`Act`].

use std::collections::BTreeMap;

use hubd_tests::{Answer, Web};
use serde_json::Value;

use super::compare::{Difference, summary};
use super::servers::{Act, Servers};

/// All requests.
pub struct Script {
    setup: Vec<Step>,
    lines: Vec<Line>,
}

enum Line {
    Step(Step),
    Act(Act),
}

struct Step {
    /// The line as written, without what is kept: it names the request among the differences.
    name: String,
    who: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    kept: Vec<(String, String)>,
}

/// Who asks one of the hubs, and what its answers gave.
pub struct Actors {
    base: Web,
    browsers: BTreeMap<String, Web>,
    kept: BTreeMap<String, String>,
}

impl Actors {
    /// Nobody is known yet.
    pub fn new(base: Web) -> Self {
        let kept = [("adm", "adm-token"), ("admsvc", "admsvc-token"), ("svc", "svc-token")];
        let kept = kept.map(|(name, token)| (name.to_owned(), token.to_owned())).into();
        Self { base, browsers: BTreeMap::new(), kept }
    }

    /// The same people with the same cookies and tokens at another address.
    pub fn at(&self, base: Web) -> Self {
        let browsers = self.browsers.iter().map(|(name, web)| (name.clone(), web.copy_to(&base)));
        Self { browsers: browsers.collect(), kept: self.kept.clone(), base }
    }

    /// A call as the admin, which is not compared.
    pub fn call(&mut self, method: &str, target: &str) -> Answer {
        let authorization = format!("token {}", self.kept["adm"]);
        self.base.fresh().request(method, target, &[("Authorization", &authorization)], b"")
    }

    fn send(&mut self, step: &Step) -> Answer {
        let fresh = self.base.fresh();
        let web = match step.who.strip_prefix('@') {
            Some(name) => {
                self.browsers.get(name).unwrap_or_else(|| panic!("{name} is not logged in")).clone()
            }
            None => fresh,
        };
        let mut headers = step.headers.clone();
        if let Some(token) = self.kept.get(&step.who) {
            headers.push(("Authorization".to_owned(), format!("token {token}")));
        } else {
            assert!(
                step.who.starts_with('@') || step.who == "nobody",
                "who is {}? ({})",
                step.who,
                step.name
            );
        }
        let fill = |text: &str| self.filled(text, &web);
        let headers: Vec<(String, String)> = headers.iter().map(|(k, v)| (k.clone(), fill(v))).collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let own = ["/hub", "/user/", "/services/"].iter().any(|prefix| step.target.starts_with(prefix))
            && !step.target.starts_with("/user/NAME");
        let target = fill(&step.target);
        let target = if own || target == "*" { target } else { format!("/hub/api{target}") };
        let body = fill(step.body.as_deref().unwrap_or_default());
        let answer = web.request(&step.method, &target, &headers, body.as_bytes());
        if !step.kept.is_empty() {
            let json = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
            for (name, pointer) in &step.kept {
                let value = match pointer.as_str() {
                    "location-code" => answer
                        .location()
                        .split_once("code=")
                        .map_or("", |(_, rest)| rest)
                        .split('&')
                        .next()
                        .map(str::to_owned),
                    pointer => json
                        .pointer(pointer)
                        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
                };
                self.kept.insert(name.clone(), value.unwrap_or_else(|| "missing".to_owned()));
            }
        }
        answer
    }

    fn filled(&self, text: &str, web: &Web) -> String {
        let mut text = text.replace("{xsrf}", &web.cookie("_xsrf").unwrap_or_default());
        for (name, value) in &self.kept {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }
}

impl Script {
    /// Reads the file.
    pub fn parse(text: &str) -> Self {
        let (mut setup, mut lines) = (Vec::new(), Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix("setup ") {
                Some(line) => setup.push(Step::parse(line)),
                None => lines.push(Act::parse(line).map_or_else(|| Line::Step(Step::parse(line)), Line::Act)),
            }
        }
        Self { setup, lines }
    }

    /// How many requests both hubs get.
    pub fn len(&self) -> usize {
        self.lines.iter().filter(|line| matches!(line, Line::Step(_))).count()
    }

    /// Sends what JupyterHub alone gets.
    pub fn prepare(&self, real: &mut Actors) {
        for step in &self.setup {
            if step.method == "LOGIN" {
                let (web, name) = (real.base.fresh(), step.target.clone());
                assert_eq!(web.log_in(&name, "pw").status, 302, "{name} cannot log in");
                web.get("/hub/home");
                real.browsers.insert(name, web);
                continue;
            }
            let answer = real.send(step);
            assert!(answer.status < 300, "{}: {} {}", step.name, answer.status, answer.text());
        }
    }

    /// Sends everything to both; what differs.
    pub fn run(&self, real: &mut Actors, ours: &mut Actors, servers: &Servers) -> Vec<Difference> {
        let mut found = Vec::new();
        for line in &self.lines {
            let step = match line {
                Line::Step(step) => step,
                Line::Act(act) => {
                    servers.act(act, [real, ours]);
                    continue;
                }
            };
            let wanted = summary(&real.send(step), &step.target);
            let answered = summary(&ours.send(step), &step.target);
            found.extend(Difference::between(&step.name, &wanted, &answered));
        }
        found
    }
}

impl Step {
    fn parse(line: &str) -> Self {
        let (line, kept) = line.split_once(" => ").map_or((line, ""), |(line, kept)| (line.trim_end(), kept));
        let body_at = [" {\"", " {}", " [", " \"", " <<"].iter().filter_map(|mark| line.find(mark)).min();
        let (head, body) = body_at.map_or((line, None), |at| {
            let (head, body) = line.split_at(at);
            let body = body.trim_start();
            (head, Some(body.strip_prefix("<<").unwrap_or(body).to_owned()))
        });
        let mut parts = head.split(" | ");
        let words: Vec<&str> = parts.next().unwrap_or_default().split_whitespace().collect();
        let headers = parts.filter_map(|part| part.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
        let kept = kept.split_whitespace().filter_map(|pair| pair.split_once('='));
        let kept = kept.map(|(name, pointer)| (name.to_owned(), pointer.to_owned())).collect();
        let own = |text: &str| text.to_owned();
        let name = line.to_owned();
        match words.as_slice() {
            [who, method, target] => {
                Self { name, who: own(who), method: own(method), target: own(target), headers, body, kept }
            }
            _ => panic!("not a request: {line}"),
        }
    }
}
