//! Root runs out of something: disk, descriptors, processes. Whoever asks is refused with words, nothing stays half
//! made, and everything works again as soon as there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hubd_proto::{Reply, Request, Secret};
use hubd_tests::helper_process::{HelperProcess, TestUser, shown, start_of, wait_for};

const POLICY: &str = "starts_per_user_per_minute = 60000\nstarts_per_minute = 60000\n[profile.default]\nprogram = [\"{dir}/bin/server\"]\n";
/// How long an answer is waited for that may never come.
const SHORT: Duration = Duration::from_secs(3);

fn tool(words: &[&str]) -> Result<()> {
    let (program, arguments) = words.split_first().context("a program")?;
    let output = Command::new(program).args(arguments).output()?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A file system in memory over a directory; dropping it takes it away.
struct Mount(PathBuf);

impl Mount {
    fn over(path: PathBuf, options: &str) -> Result<Self> {
        tool(&["mount", "-t", "tmpfs", "-o", options, "hubt", &path.to_string_lossy()])?;
        Ok(Self(path))
    }

    /// Fills it to the last byte.
    fn fill(&self) -> Result<PathBuf> {
        let (file, block) = (self.0.join("fill"), [0_u8; 4096]);
        let mut open = fs::File::create(&file)?;
        while std::io::Write::write_all(&mut open, &block).is_ok() {}
        Ok(file)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = tool(&["umount", "--lazy", &self.0.to_string_lossy()]);
    }
}

fn started(helper: &HelperProcess, user: &TestUser, ticket: &Secret) -> Result<Reply> {
    helper.connect()?.ask(&Request::Start(Box::new(start_of(&user.name, Some(ticket))?)))
}

/// A start works, and after its stop nothing is left of it.
fn works_and_leaves_nothing(helper: &HelperProcess, user: &TestUser, ticket: &Secret) -> Result<()> {
    wait_for("the end of all processes", || user.processes().is_ok_and(|count| count == 0))?;
    let mut connection = helper.connect()?;
    connection.start(start_of(&user.name, Some(ticket))?)?;
    ensure!(connection.stop()?.stopped);
    for place in ["run/sessions", "run/servers", "state/sessions"] {
        let left: Vec<_> = fs::read_dir(helper.dir.path().join(place))?.flatten().map(|e| e.path()).collect();
        ensure!(left.is_empty(), "{left:?}");
    }
    ensure!(user.processes()? == 0);
    Ok(())
}

#[test]
fn a_full_disk_is_told_and_over_as_soon_as_there_is_room() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    helper.script("server", "#!/bin/sh\nyes | head -c 200000\nexec sleep 1000\n")?;
    let user = TestUser::make("disk", &[])?;
    let place = |name: &str| helper.dir.path().join(name);
    let state = Mount::over(place("state"), "size=64k,mode=700")?;
    let full = state.fill()?;
    let refused = helper.login(&user).err().context("attempts were not counted")?.to_string();
    ensure!(refused.contains("system") && refused.contains("No space left"), "{refused}");
    fs::remove_file(full)?;
    let ticket = helper.login(&user)?.1.ticket;
    let full = state.fill()?;
    let refused = helper.login(&user).err().context("a ticket was made on a full disk")?.to_string();
    ensure!(refused.contains("the ticket could not be written"), "{refused}");
    fs::remove_file(full)?;
    // No room for the server's directory: what was made before it goes again.
    let servers = Mount::over(place("run/servers"), "nr_inodes=1,mode=711")?;
    match started(&helper, &user, &ticket)? {
        Reply::Refused(refused) if refused.message.contains("No space left") => {}
        other => bail!("{}", shown(&other)),
    }
    drop(servers);
    works_and_leaves_nothing(&helper, &user, &ticket)?;
    // No room for what servers print: they run all the same.
    fs::create_dir_all(place("log"))?;
    let log = Mount::over(place("log"), "size=4k,mode=750")?;
    log.fill()?;
    works_and_leaves_nothing(&helper, &user, &ticket)
}

#[test]
fn with_any_number_of_descriptors_a_start_works_or_is_refused_and_leaves_nothing() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
    let user = TestUser::make("files", &[])?;
    let ticket = helper.login(&user)?.1.ticket;
    let limit =
        |soft: u32| tool(&["prlimit", "--pid", &helper.id().to_string(), &format!("--nofile={soft}:")]);
    let (mut refused, mut ran) = (0, 0);
    for soft in 3..30 {
        limit(soft)?;
        let mut connection = helper.connect()?;
        connection.0.set_read_timeout(Some(SHORT))?;
        let start = Request::Start(Box::new(start_of(&user.name, Some(&ticket))?));
        match connection.ask(&start) {
            Ok(Reply::Started(_)) => {
                ran += 1;
                ensure!(connection.stop()?.stopped, "{soft} descriptors");
            }
            Ok(Reply::Refused(_)) | Err(_) => refused += 1,
            Ok(other) => bail!("{soft} descriptors: {}", shown(&other)),
        }
    }
    println!("{refused} starts were refused, {ran} ran");
    ensure!(refused > 0 && ran > 0, "{refused} refused, {ran} ran");
    limit(1024)?;
    works_and_leaves_nothing(&helper, &user, &ticket)
}

/// A control group in which only so many processes fit; dropping it removes it.
struct Processes {
    group: PathBuf,
    home: PathBuf,
    pid: String,
}

impl Processes {
    /// Puts the listener into one, if this machine has groups of either version that can be written.
    fn around(helper: &HelperProcess) -> Result<Option<Self>> {
        let pid = helper.id().to_string();
        for line in fs::read_to_string(format!("/proc/{pid}/cgroup"))?.lines() {
            let [_, controllers, own] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { continue };
            let mount = match controllers {
                "pids" => "/sys/fs/cgroup/pids",
                "" => "/sys/fs/cgroup",
                _ => continue,
            };
            let home = Path::new(mount).join(own.trim_start_matches('/'));
            let group = home.join(format!("hubt-h-{pid}"));
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let processes = Self { group, home, pid: pid.clone() };
            if processes.limit("max").is_ok() && fs::write(processes.group.join("cgroup.procs"), &pid).is_ok()
            {
                return Ok(Some(processes));
            }
        }
        Ok(None)
    }

    /// Waits until only the listener is left: what a step before has ended still counts until it is gone.
    fn settle(&self) -> Result<()> {
        let current = self.group.join("pids.current");
        wait_for("the listener alone", || fs::read_to_string(&current).is_ok_and(|count| count.trim() == "1"))
    }

    fn limit(&self, count: &str) -> Result<()> {
        Ok(fs::write(self.group.join("pids.max"), count)?)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let _ = fs::write(self.home.join("cgroup.procs"), &self.pid);
        let _ = wait_for("an empty group", || fs::remove_dir(&self.group).is_ok());
    }
}

#[test]
fn with_any_number_of_processes_a_start_works_or_is_refused_and_leaves_nothing() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
    let user = TestUser::make("forks", &[])?;
    let ticket = helper.login(&user)?.1.ticket;
    let Some(processes) = Processes::around(&helper)? else {
        println!("this machine has no control groups that count processes: skipped");
        return Ok(());
    };
    // The listener is the first process, the one that answers for the server the third.
    for (count, expected) in [(1, "nothing"), (2, "refused"), (3, "refused"), (4, "started"), (5, "started")]
    {
        processes.settle()?;
        processes.limit(&count.to_string())?;
        let mut connection = helper.connect()?;
        connection.0.set_read_timeout(Some(SHORT))?;
        let start = Request::Start(Box::new(start_of(&user.name, Some(&ticket))?));
        let outcome = match connection.ask(&start) {
            Ok(Reply::Started(_)) => {
                ensure!(connection.stop()?.stopped, "{count} processes");
                "started"
            }
            Ok(Reply::Refused(refused)) => {
                ensure!(refused.message.contains("fork"), "{}", refused.message);
                "refused"
            }
            Ok(other) => bail!("{}", shown(&other)),
            Err(_) => "nothing",
        };
        ensure!(outcome == expected, "{count} processes: {outcome}, not {expected}\n{}", helper.audit());
    }
    processes.limit("max")?;
    works_and_leaves_nothing(&helper, &user, &ticket)?;
    drop(processes);
    Ok(())
}
