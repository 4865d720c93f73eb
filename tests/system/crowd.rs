//! Five hundred people at nine o'clock: logins at once with the system's own password hash.
//!
//! `HUBD_TEST_CROWD=500 cargo test -p hubd-tests --test system -- crowd` is the whole of it; on every run there are
//! fewer, because the hash alone takes the machine a long time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use hubd_tests::{Installation, Person, PersonKind, Setup, Web, run, until};

use crate::Case;
use crate::suite::{Suite, with_program};

/// The cases of this file.
pub const CASES: &[Case] = &[("a crowd logs in at once without an error, and pages stay quick", crowd)];

/// People on every run.
const PEOPLE: usize = 40;
/// First uid of theirs, which useradd(8) gives to nobody else in a test.
const FIRST_UID: usize = 58_000;
/// How long a page may take meanwhile, with `HUBD_TEST_BARS=1`.
const PAGE: Duration = Duration::from_millis(100);
/// The same on a machine that is busy with other things.
const PAGE_BUSY: Duration = Duration::from_secs(2);
/// How long the processes of logins may stay after the last one.
const HELD: Duration = Duration::from_secs(30);
/// More descriptors than each person has here.
const DESCRIPTORS_EACH: usize = 8;
/// The pause between two looks at a page.
const LOOK: Duration = Duration::from_millis(20);

/// Accounts with one password, written under the lock of the account files; dropping it removes them.
struct Crowd;

impl Crowd {
    fn of(count: usize, hash: &str) -> Self {
        let of_all = |line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
        let home = "/nonexistent:/bin/bash";
        append("", &of_all(&|n| format!("hubt-hard-{n}:x:{}:65534::{home}\n", FIRST_UID + n)));
        append("--shadow", &of_all(&|n| format!("hubt-hard-{n}:{hash}:20000:0:99999:7:::\n")));
        Self
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for option in ["", "--shadow"] {
            edit(option, "sed -i '/^hubt-hard-[0-9]*:/d' \"$1\"");
        }
    }
}

fn append(option: &str, lines: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), lines).unwrap();
    edit(option, &format!("cat {} >> \"$1\"", file.path().display()));
}

/// Runs vipw(8) with a command as its editor; it takes a file of the same second as before for unchanged.
fn edit(option: &str, command: &str) {
    let editor = tempfile::Builder::new().prefix("hubt-edit-").tempfile().unwrap().into_temp_path();
    fs::write(
        &editor,
        format!("#!/bin/sh\n{command}\ntouch -d \"1$(date +%N | tail -c 4) seconds ago\" \"$1\"\n"),
    )
    .unwrap();
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700)).unwrap();
    let mut vipw = Command::new("vipw");
    vipw.env("VISUAL", &editor).args(Some(option).filter(|option| !option.is_empty()));
    let output = vipw.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn crowd(_: &mut Suite) {
    let count = std::env::var("HUBD_TEST_CROWD").ok().and_then(|text| text.parse().ok()).unwrap_or(PEOPLE);
    let first = Person::new("hubt-hard-first", PersonKind::Ordinary);
    let shadow = run("getent", &["shadow", &first.name]);
    let hash = shadow.split(':').nth(1).unwrap();
    let time_of_hash = hash_time(hash);
    let _crowd = Crowd::of(count, hash);
    let policy = "login_hold_seconds = 1\n".to_owned();
    let mut installation = Installation::running(&Setup { policy, plain: true, ..with_program("/bin/sh") });
    let web = installation.web();
    web.log_in(&first.name, &first.password);
    // The kernel makes room for the descriptors of these people now, and not while a page is waited for: see
    // `make_room_for_descriptors` in src/hubd/src/privileges.rs.
    let room = i32::try_from(DESCRIPTORS_EACH * count).unwrap();
    nix::unistd::close(fcntl(std::io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(room)).unwrap()).unwrap();
    let looked = Looking::at(&web);
    let barrier = Arc::new(Barrier::new(count + 1));
    let people: Vec<_> = (0..count)
        .map(|number| {
            let (web, password, barrier) = (web.fresh(), first.password.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                web.get("/hub/login");
                barrier.wait();
                let begun = Instant::now();
                (web.log_in(&format!("hubt-hard-{number}"), &password).status, begun.elapsed())
            })
        })
        .collect();
    barrier.wait();
    let (began, hubd, helper) = (Instant::now(), installation.hubd().id(), installation.helper().id());
    let before = (cpu(hubd), cpu_of_children(helper));
    let outcomes: Vec<_> = people.into_iter().map(|person| person.join().unwrap()).collect();
    let (took, cpu_of_hubd) = (began.elapsed(), cpu(hubd) - before.0);
    let mut pages = looked.end();
    pages.sort();
    // A login's process ends when the daemon or the policy does not hold it any longer, and is counted then.
    until("the end of all logins", HELD, || (children(helper) == 0).then_some(()));
    let each = (cpu_of_children(helper) - before.1) / u32::try_from(count).unwrap();
    let page = |part: usize| pages.get((pages.len() - 1) * part / 100).unwrap();
    println!("    {count} logins at once: the last person was in after {took:.1?}");
    println!(
        "    processor time: {each:.1?} a login in the helper, {time_of_hash:.1?} of it for the hash; hubd took {cpu_of_hubd:.1?} for all"
    );
    println!(
        "    {} pages meanwhile: {:.1?} (median), {:.1?} (99 of 100), {:.1?} (longest)",
        pages.len(),
        page(50),
        page(99),
        page(100)
    );
    let errors = outcomes.iter().filter(|(status, _)| *status != 302).count();
    assert_eq!(errors, 0, "{:?}", outcomes.iter().map(|(status, _)| status).collect::<Vec<_>>());
    let limit = if std::env::var_os("HUBD_TEST_BARS").is_some() { PAGE } else { PAGE_BUSY };
    assert!(*page(100) < limit, "a page took {:?}", page(100));
}

/// Processor time of one hash of the system's kind.
fn hash_time(hash: &str) -> Duration {
    let script = "use POSIX; my $b = (POSIX::times)[1]; crypt('x', $ARGV[0]) for 1..50; print(((POSIX::times)[1] - $b) / 50 / POSIX::sysconf(&POSIX::_SC_CLK_TCK))";
    Duration::from_secs_f64(run("perl", &["-e", script, hash]).trim().parse().unwrap())
}

/// Processor time of the children that a process has had, and that are over.
fn cpu_of_children(id: i32) -> Duration {
    times(id, 13)
}

/// The children that a process has now.
fn children(id: i32) -> usize {
    fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap().split_whitespace().count()
}

/// Processor time that a process has used.
fn cpu(id: i32) -> Duration {
    times(id, 11)
}

/// Two neighbouring fields of proc_pid_stat(5), user and system time, in hundredths of a second.
fn times(id: i32, place: usize) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).unwrap().parse::<u64>().unwrap();
    Duration::from_millis((ticks(place) + ticks(place + 1)) * 10)
}

/// Somebody who looks at the login page and at a page of their own again and again.
struct Looking {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Duration>>,
}

impl Looking {
    fn at(web: &Web) -> Self {
        let (stop, pages) =
            (Arc::new(AtomicBool::new(false)), [(web.fresh(), "/hub/login"), (web.copy(), "/hub/home")]);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                for (web, page) in &pages {
                    let begun = Instant::now();
                    assert_eq!(web.get(page).status, 200, "{page}");
                    times.push(begun.elapsed());
                }
                std::thread::sleep(LOOK);
            }
            times
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
