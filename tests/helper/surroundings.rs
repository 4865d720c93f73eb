//! What a session finds around it, as after a login with ssh: groups, keyring, Kerberos tickets, and a home that root
//! may not read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use hubd_tests::helper_process::{HelperProcess, TestUser, start_of, wait_for};

const POLICY: &str = "[profile.default]\nprogram = [\"{dir}/bin/server\"]\n";
/// As many supplementary groups as a large directory gives to somebody.
const GROUPS: usize = 1024;
/// Where numbers of groups begin that no tool hands out.
const GROUP_IDS_FROM: usize = 3_000_000;

/// Runs `script` as a server of `user`'s to its end and gives what it printed.
fn printed(helper: &HelperProcess, user: &TestUser, script: &str) -> Result<Vec<String>> {
    helper.script("server", &format!("#!/bin/sh\n{script}\n"))?;
    let mut connection = helper.login(user)?.0;
    connection.start(start_of(&user.name, None)?)?;
    let exited = connection.exited()?;
    ensure!(exited.code == Some(0), "{exited:?}");
    Ok(exited.log)
}

/// Many groups with one member, written under the lock of the account files; dropping it removes them.
struct Groups(String);

impl Groups {
    fn of(user: &TestUser) -> Result<Self> {
        let groups = Self(format!("{}-g", user.name));
        let lines = (0..GROUPS).map(|n| format!("{}{n}:x:{}:{}\n", groups.0, GROUP_IDS_FROM + n, user.name));
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), lines.collect::<String>())?;
        edit(&format!("cat {} >> \"$1\"", file.path().display()))?;
        Ok(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _ = edit(&format!("sed -i '/^{}[0-9]/d' \"$1\"", self.0));
    }
}

/// Changes /etc/group with vigr(8), which takes the lock that useradd(8) takes, and takes a file that was written in
/// the same second as before for unchanged.
fn edit(command: &str) -> Result<()> {
    let editor = tempfile::Builder::new().prefix("hubt-edit-").tempfile()?.into_temp_path();
    fs::write(
        &editor,
        format!("#!/bin/sh\n{command}\ntouch -d \"1$(date +%N | tail -c 4) seconds ago\" \"$1\"\n"),
    )?;
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700))?;
    let vigr = || {
        let status = Command::new("vigr").env("VISUAL", &editor).stdin(Stdio::null()).output();
        status.is_ok_and(|output| output.status.success())
    };
    wait_for("the lock of the account files", vigr)
}

#[test]
fn a_session_has_no_group_beside_its_own_or_a_thousand() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    let user = TestUser::make("groups", &[])?;
    let count = "id -G | wc -w; grep ^Groups: /proc/self/status | wc -w";
    ensure!(printed(&helper, &user, count)? == ["1", "2"]);
    let _groups = Groups::of(&user)?;
    let all = (GROUPS + 1).to_string();
    let log = printed(&helper, &user, count)?;
    ensure!(log == [all.as_str(), &(GROUPS + 2).to_string()], "{log:?}");
    Ok(())
}

#[test]
fn each_session_has_a_keyring_of_its_own_that_ends_with_it() -> Result<()> {
    if !Command::new("keyctl").args(["show", "@s"]).output().is_ok_and(|output| output.status.success()) {
        println!("this kernel has no keyrings, or keyctl is not installed: skipped");
        return Ok(());
    }
    let helper = HelperProcess::start(POLICY)?;
    let user = TestUser::make("keys", &[])?;
    // The line below the heading is the session's own: number, rights, uid, gid, kind, name.
    let script = "keyctl add user hubt secret @s >/dev/null; keyctl show @s | tail -n +2 | sed 1q; keyctl show @s | grep -c hubt";
    let rings = [printed(&helper, &user, script)?, printed(&helper, &user, script)?];
    let mut numbers = Vec::new();
    for ring in &rings {
        let fields: Vec<&str> = ring.first().context("a keyring")?.split_whitespace().collect();
        ensure!(fields.get(2) == Some(&user.uid()?.to_string().as_str()), "{ring:?}");
        ensure!(fields.last().is_some_and(|name| name.starts_with("_ses")), "{ring:?}");
        ensure!(ring.get(1).map(String::as_str) == Some("1"), "{ring:?}");
        numbers.push((*fields.first().context("a number")?).to_owned());
    }
    ensure!(numbers.first() != numbers.last(), "two sessions share a keyring: {rings:?}");
    for number in numbers {
        let output = Command::new("keyctl").args(["show", &number]).output()?;
        ensure!(
            !String::from_utf8_lossy(&output.stdout).contains("hubt"),
            "the keyring of an ended session is there"
        );
    }
    Ok(())
}

#[test]
fn the_ticket_cache_and_other_variables_of_pam_modules_reach_the_server() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    let user = TestUser::make("krb", &[])?;
    let variables = helper.dir.path().join("pam_env.conf");
    fs::write(&variables, "KRB5CCNAME DEFAULT=FILE:/tmp/krb5cc_hubt\nHUBT_OTHER DEFAULT=of_a_module\n")?;
    helper.add_to_pam_service(&format!("session required pam_env.so conffile={}", variables.display()))?;
    let log = printed(&helper, &user, "echo \"$KRB5CCNAME $HUBT_OTHER\"")?;
    ensure!(log == ["FILE:/tmp/krb5cc_hubt of_a_module"], "{log:?}");
    Ok(())
}

#[test]
fn the_login_uid_is_the_users_where_the_kernel_keeps_one() -> Result<()> {
    let helper = HelperProcess::start(POLICY)?;
    let user = TestUser::make("luid", &[])?;
    let log = printed(&helper, &user, "cat /proc/self/loginuid 2>/dev/null || echo none; echo")?;
    // A kernel without audit keeps none, and a container may not set it: then not even root can.
    let set = format!("echo {} >/proc/self/loginuid && cat /proc/self/loginuid", user.uid()?);
    let output = Command::new("sh").args(["-c", &set]).stderr(Stdio::null()).output()?;
    let expected = String::from_utf8(output.stdout)?;
    let unset = [u32::MAX.to_string(), "none".to_owned()];
    let good = |uid: &String| *uid == expected || expected.is_empty() && unset.contains(uid);
    ensure!(log.first().is_some_and(good), "{log:?}, and root can set {expected:?}");
    println!("loginuid: {log:?}");
    Ok(())
}

/// A file system of one empty directory that tells who asks for what: "OPERATION UID" in each line of a file.
const FILE_SYSTEM: &str = r#"
import ctypes, os, struct, sys
home, log, options = sys.argv[1], open(sys.argv[2], "w"), sys.argv[3]
uid, gid = os.stat(home).st_uid, os.stat(home).st_gid
device = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={device},rootmode=40000,user_id={uid},group_id={gid}{options}".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hubt", home.encode(), b"fuse", 0, data): sys.exit(os.strerror(ctypes.get_errno()))
INIT, GETATTR, ACCESS, OPENDIR, READDIR, RELEASEDIR, QUIET = 26, 3, 34, 27, 28, 29, (2, 42, 36)
while True:
    try: request = os.read(device, 1 << 17)
    except OSError: break
    length, operation, unique, node, who = struct.unpack_from("<IIQQI", request)
    if operation in QUIET: continue
    error, body = 0, b""
    # What is open is closed by the kernel itself, in nobody's name.
    if operation == RELEASEDIR: pass
    elif operation == INIT: body = struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 12, 9, 4096, 1, 1, 0, 0, *[0] * 7)
    else:
        log.write(f"{operation} {who}\n"); log.flush()
        if operation == GETATTR:
            body = struct.pack("<QIIQQQQQQIIIIIIIIII", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40700, 2, uid, gid, 0, 512, 0)
        elif operation == OPENDIR: body = struct.pack("<QII", 0, 0, 0)
        elif operation in (ACCESS, READDIR): pass
        else: error = -2
    os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
"#;

/// A home in that file system; dropping it takes it away.
struct Fuse {
    process: Child,
    home: String,
}

impl Fuse {
    fn over(user: &TestUser, helper: &HelperProcess, options: &str) -> Result<Self> {
        let script = helper.dir.path().join("fuse.py");
        fs::write(&script, FILE_SYSTEM)?;
        let home = user.home.to_string_lossy().into_owned();
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(&home).arg(helper.dir.path().join("asked")).arg(options);
        let fuse = Self { process: command.spawn()?, home };
        let mounted = || fs::read_to_string("/proc/mounts").is_ok_and(|mounts| mounts.contains(&fuse.home));
        wait_for("the file system", mounted)?;
        Ok(fuse)
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", &self.home]).status();
        let _ = self.process.wait();
    }
}

#[test]
fn root_touches_nothing_in_a_home_and_need_not_be_able_to_read_it() -> Result<()> {
    if fs::File::open("/dev/fuse").is_err() {
        println!("this kernel has no FUSE: skipped");
        return Ok(());
    }
    let helper = HelperProcess::start(POLICY)?;
    let user = TestUser::make("squash", &[])?;
    // Like an NFS server that squashes root, the kernel refuses everybody but the owner, root too.
    let fuse = Fuse::over(&user, &helper, "")?;
    ensure!(fs::read_dir(&user.home).is_err(), "root may read the home: it proves nothing");
    let log = printed(&helper, &user, "pwd; id -u; ls -a | wc -l")?;
    ensure!(log.starts_with(&[user.home.to_string_lossy().into_owned(), user.uid()?.to_string()]), "{log:?}");
    drop(fuse);
    // Open to root, it tells whether root has asked for anything.
    let fuse = Fuse::over(&user, &helper, ",allow_other")?;
    printed(&helper, &user, "ls -a >/dev/null")?;
    drop(fuse);
    let asked = fs::read_to_string(helper.dir.path().join("asked"))?;
    let own = format!(" {}", user.uid()?);
    ensure!(asked.lines().any(|line| line.ends_with(&own)), "nobody asked for anything: {asked}");
    ensure!(!asked.lines().any(|line| line.ends_with(" 0")), "root asked for something there:\n{asked}");
    Ok(())
}
