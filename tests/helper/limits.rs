//! `src/helper/src/cgroup.rs`: limits by control groups. A tree of plain files stands for the kernel's where this
//! machine has no controllers of version 2; ending a whole group is tried on a real one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hubd_proto::message::RefusalCode;
use hubd_proto::{Reply, Request};
use hubd_tests::helper_process::{HelperProcess, TestUser, shown, start_of, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PROFILE: &str = "[profile.default]\nprogram = [\"{dir}/bin/server\"]\n";
const LIMITS: &str = "limits = { mem_limit = \"2G\", mem_guarantee = \"512M\", cpu_limit = 1.5, cpu_guarantee = 0.5, tasks_max = 500 }\n";

#[test]
fn limits_are_written_and_told_and_running_out_of_memory_is_told_apart() -> Result<()> {
    let group = "[group.games]\nmem_limit = \"3G\"\n[group.cdrom]\nmem_limit = \"9G\"\n";
    let helper = HelperProcess::start(&format!("cgroup_dir = \"{{dir}}/tree\"\n{PROFILE}{LIMITS}{group}"))?;
    fs::create_dir(helper.dir.path().join("tree"))?;
    helper.script("server", "#!/bin/sh\nenv | grep -E 'MEM_|CPU_' | sort\nexec sleep 1000\n")?;
    let user = TestUser::make("limits", &["-G", "games"])?;
    let (mut connection, _) = helper.login(&user)?;
    let mut start = start_of(&user.name, None)?;
    // What the daemon says of limits does not count.
    start.environment.insert("MEM_LIMIT".into(), String::from("1").into());
    let status = connection.start(start)?;
    let tree = helper.dir.path().join("tree").join(status.session.as_str());
    let read = |file: &str| fs::read_to_string(tree.join(file)).unwrap_or_default();
    for (file, value) in [
        ("memory.max", "3221225472"),
        ("memory.swap.max", "0"),
        ("memory.low", "536870912"),
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "50"),
        ("pids.max", "500"),
        ("cgroup.procs", "0"),
    ] {
        ensure!(read(file) == value, "{file}: {:?}", read(file));
    }
    fs::write(tree.join("memory.current"), "12345\n")?;
    fs::write(tree.join("cpu.stat"), "usage_usec 678\nuser_usec 600\n")?;
    match connection.ask(&Request::Status)? {
        Reply::Status(now) => {
            ensure!(now.memory_bytes == Some(12345) && now.cpu_microseconds == Some(678), "{now:?}");
            ensure!(now.memory_limit_bytes == Some(3 << 30), "{now:?}");
        }
        other => bail!("{}", shown(&other)),
    }
    wait_for("its variables", || {
        matches!(connection.ask(&Request::Log), Ok(Reply::Log(lines))
            if lines == ["CPU_GUARANTEE=0.5", "CPU_LIMIT=1.5", "MEM_GUARANTEE=536870912", "MEM_LIMIT=3221225472"])
    })?;
    fs::write(tree.join("memory.events"), "low 0\nmax 7\noom 1\noom_kill 1\n")?;
    kill(Pid::from_raw(status.pid), Signal::SIGKILL)?;
    let exited = connection.exited()?;
    ensure!(exited.out_of_memory == Some(3 << 30) && !exited.stopped, "{exited:?}");
    ensure!(helper.audit().contains("out of memory"), "{}", helper.audit());
    Ok(())
}

#[test]
fn a_limit_that_cannot_be_held_is_an_error() -> Result<()> {
    let helper = HelperProcess::start(&format!("{PROFILE}{LIMITS}"))?;
    helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
    let user = TestUser::make("nolimit", &[])?;
    let start = Request::Start(Box::new(start_of(&user.name, None)?));
    let refused = helper.login(&user)?.0.refused(&start, RefusalCode::NotAvailable)?;
    ensure!(refused.message.contains("limits cannot be held"), "{}", refused.message);
    Ok(())
}

/// A group of this machine's real tree; dropping it removes it.
struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
            let _ = fs::write(entry.path().join("cgroup.kill"), "1");
            let _ = wait_for("an empty group", || fs::remove_dir(entry.path()).is_ok());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn tree() -> Result<Option<Tree>> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next().filter(|_| fields.next() == Some("cgroup2"))
    });
    let Some(mount) = mount else { return Ok(None) };
    let path = Path::new(mount).join(format!("hubt-h-{}", std::process::id()));
    Ok(fs::create_dir(&path).is_ok().then_some(Tree(path)))
}

#[test]
fn nothing_in_a_servers_group_survives_its_stop_or_the_end_of_the_process_above_it() -> Result<()> {
    let Some(tree) = tree()? else {
        println!("this machine has no control groups of version 2 that can be written: skipped");
        return Ok(());
    };
    let helper = HelperProcess::start(&format!("cgroup_dir = \"{}\"\n{PROFILE}", tree.0.display()))?;
    helper.script(
        "server",
        "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done' &\n(setsid nohup sleep 1000 >/dev/null 2>&1 &)\nexec sleep 1000\n",
    )?;
    let user = TestUser::make("group", &[])?;
    let ticket = helper.login(&user)?.1.ticket;
    let mut connection = helper.connect()?;
    let status = connection.start(start_of(&user.name, Some(&ticket))?)?;
    let group = tree.0.join(status.session.as_str());
    let count = || fs::read_to_string(group.join("cgroup.procs")).map_or(0, |text| text.lines().count());
    wait_for("the family in the group", || count() >= 4)?;
    ensure!(
        fs::metadata(&group)?.permissions().mode() & 0o777 == 0o755,
        "the server cannot read its figures"
    );
    let stat = fs::read_to_string(format!("/proc/{}/stat", status.pid))?;
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).context("a parent")?;
    ensure!(!fs::read_to_string(group.join("cgroup.procs"))?.lines().any(|pid| pid == parent));
    kill(Pid::from_raw(parent.parse()?), Signal::SIGKILL)?;
    ensure!(connection.receive().is_err());
    // The next start of the same server finds what is left, and ends it first.
    let mut connection = helper.connect()?;
    connection.start(start_of(&user.name, Some(&ticket))?)?;
    wait_for("one family", || count() == 4)?;
    wait_for("nothing but it", || user.processes().is_ok_and(|count| count == 4))?;
    ensure!(connection.stop()?.stopped && user.processes()? == 0 && !group.exists());
    Ok(())
}
