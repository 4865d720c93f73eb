//! `kill -9` of the hub at points of login, start and stop: five seconds later nothing is stuck or left over.
//! A few points on every run; `HUBD_TEST_KILLS=200 cargo test -p hubd-tests --test system -- killed` tries as many.

use std::time::{Duration, Instant};

use hubd_tests::{Answer, Installation, Person, PersonKind, Setup, Web, processes_of, until};

use crate::Case;
use crate::failures::RootProgram;
use crate::measures::STUB;
use crate::suite::with_program;

/// The cases of this file.
pub const CASES: &[Case] =
    &[("a hub that is killed anywhere in login, start or stop leaves nothing stuck", points)];

/// Points that are tried on every run.
const POINTS: u32 = 8;
/// From one point to the next: a login, start or stop takes some hundred milliseconds.
const STEP: Duration = Duration::from_millis(23);
/// Points of each kind before they begin at the first again.
const STEPS: u32 = 25;
/// Points after which the browser logs in again: the logins of other points push its ticket out, the oldest of 32.
const POINTS_OF_A_BROWSER: u32 = 20;
/// From the kill until everything is as it says, the hub's own start included.
const SETTLED: Duration = Duration::from_secs(5);
/// What only prepares a point may take longer.
const PREPARED: Duration = Duration::from_secs(30);
/// More starts than the policy's default in a minute.
const RATES: &str =
    "starts_per_minute = 60000\nstarts_per_user_per_minute = 60000\nfailures_per_user_per_minute = 60000\n";

fn points(_: &mut crate::suite::Suite) {
    let count = std::env::var("HUBD_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(POINTS);
    let program = RootProgram::new("kills", STUB);
    let person = Person::new("hubt-hard-kills", PersonKind::Ordinary);
    let setup = Setup { policy: RATES.to_owned(), ..with_program(&program.path().to_string_lossy()) };
    let mut installation = Installation::running(&setup);
    let mut web = installation.web();
    let mut took = Vec::new();
    for point in 0..count {
        if point % POINTS_OF_A_BROWSER == 0 {
            web = installation.web();
            web.log_in(&person.name, &person.password);
            web.get("/hub/home");
        }
        let (kind, step) = (point % 4, point / 4 % STEPS);
        prepare(&web, &person, kind == 2);
        let busy = act(&web, &person, kind);
        // The points lie in time; where in the work each of them falls is the machine's choice.
        std::thread::sleep(STEP * step);
        installation.kill_hub();
        let killed = Instant::now();
        installation.start_hub();
        until(&format!("a settled state after point {point}"), PREPARED, || {
            settled(&installation, &web, &person).then_some(())
        });
        took.push(killed.elapsed());
        assert!(killed.elapsed() < SETTLED, "point {point}: settled after {:?}", killed.elapsed());
        // It got an answer, or its connection ended with the hub.
        let _ = busy.join();
    }
    took.sort();
    let (middle, last) = (took.get(took.len() / 2).unwrap(), took.last().unwrap());
    println!("    {count} kills: settled after {middle:.1?} (median), {last:.1?} (longest)");
}

/// What the hub is killed in: a start, a login, a stop.
fn act(web: &Web, person: &Person, kind: u32) -> std::thread::JoinHandle<()> {
    let (web, name, password) = (web.copy(), person.name.clone(), person.password.clone());
    std::thread::spawn(move || {
        let server = format!("users/{name}/server");
        // The answer is often none: that is what is tried.
        _ = match kind {
            1 => another_login(&web, &name, &password),
            2 => web.try_api("DELETE", &server, ""),
            _ => web.try_api("POST", &server, ""),
        };
    })
}

/// A login with the form that somebody has open already.
fn another_login(web: &Web, name: &str, password: &str) -> std::io::Result<Answer> {
    let xsrf = web.cookie("_xsrf").unwrap_or_default();
    let form = format!("_xsrf={xsrf}&username={name}&password={}", password.replace(' ', "+"));
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    web.try_request("POST", "/hub/login?next=", &headers, form.as_bytes())
}

fn model(web: &Web, person: &Person) -> serde_json::Value {
    web.api("GET", &format!("users/{}", person.name), "").json()
}

/// Brings the server into the state that a point begins with.
fn prepare(web: &Web, person: &Person, running: bool) {
    let server = format!("users/{}/server", person.name);
    until("the server to be as the point needs it", PREPARED, || {
        let now = model(web, person);
        let is_running = !now["server"].is_null();
        if now["pending"].is_null() && is_running != running {
            web.api(if running { "POST" } else { "DELETE" }, &server, "");
        }
        (now["pending"].is_null() && is_running == running).then_some(())
    });
}

/// Whether what the hub says is so: a server that answers, or none and no process of it.
fn settled(installation: &Installation, web: &Web, person: &Person) -> bool {
    let now = model(web, person);
    if !now["pending"].is_null() {
        return false;
    }
    if now["server"].is_null() {
        return installation.sessions().is_empty() && processes_of(person.uid).is_empty();
    }
    installation.sessions().len() == 1 && web.get(&format!("/user/{}/api", person.name)).status == 200
}
