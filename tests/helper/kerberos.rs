//! Kerberos, with a real key distribution centre and Debian's pam_krb5: a login with the password of the realm gives
//! the server a ticket of its own, as a login with ssh does, and the ticket is gone when the server is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use hubd_proto::message::RefusalCode;
use hubd_proto::{Reply, Request};
use hubd_tests::helper_process::{Connection, HelperProcess, PASSWORD, TestUser, shown, start_of, wait_for};

const POLICY: &str = "[profile.default]\nprogram = [\"{dir}/bin/server\"]\n";
/// The password that only the realm knows; the account's own is another one.
const REALM_PASSWORD: &str = "only-the-Realm-knows-7";
/// What a server of a test shows of its ticket: where it is, whose, and that the realm takes it.
const SHOW: &str = "#!/bin/sh\necho \"cache=$KRB5CCNAME\"\n\
    klist -s && klist && kvno -q hubt/service && echo usable || echo no ticket\nexec sleep 1000\n";

/// A realm of its own on a port of loopback; dropping it ends it.
struct Realm {
    dir: tempfile::TempDir,
    process: Child,
}

impl Realm {
    /// Makes the realm's database with `user` and one service in it, and serves it.
    fn start(user: &TestUser) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("hubt-krb-").tempdir_in("/run")?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let port = std::net::UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let place = dir.path().display();
        let client = format!(
            "[libdefaults]\ndefault_realm = HUBT.TEST\ndns_lookup_kdc = false\ndns_lookup_realm = false\nrdns = false\n\
             [realms]\nHUBT.TEST = {{\n kdc = 127.0.0.1:{port}\n}}\n"
        );
        let server = format!(
            "[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = \"\"\n[realms]\nHUBT.TEST = {{\n\
             database_name = {place}/principal\nkey_stash_file = {place}/stash\n}}\n[logging]\ndefault = FILE:{place}/log\n"
        );
        fs::write(dir.path().join("krb5.conf"), client)?;
        fs::write(dir.path().join("kdc.conf"), server)?;
        let tool = |program: &str| {
            let mut command = Command::new(program);
            command.env("KRB5_CONFIG", dir.path().join("krb5.conf"));
            command.env("KRB5_KDC_PROFILE", dir.path().join("kdc.conf"));
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command
        };
        let run = |command: &mut Command| -> Result<()> {
            let output =
                command.stderr(Stdio::piped()).output().context("apt install krb5-kdc krb5-admin-server")?;
            ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        run(tool("kdb5_util").args(["create", "-r", "HUBT.TEST", "-s", "-P", "of the database"]))?;
        for principal in [format!("-pw {REALM_PASSWORD} {}", user.name), "-randkey hubt/service".to_owned()] {
            run(tool("kadmin.local").args(["-r", "HUBT.TEST", "-q", &format!("addprinc {principal}")]))?;
        }
        let process = tool("krb5kdc").args(["-n", "-r", "HUBT.TEST"]).stderr(Stdio::null()).spawn()?;
        let realm = Self { dir, process };
        wait_for("the realm", || realm.log().contains("commencing operation"))?;
        Ok(realm)
    }

    /// What the realm has seen.
    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A helper that knows this realm alone, with a /tmp of its own, where tickets are.
    fn helper(&self) -> Result<HelperProcess> {
        let config = self.dir.path().join("krb5.conf");
        let own = format!(
            "mount -t tmpfs -o mode=1777 hubt /tmp\nmount --bind {} /etc/krb5.conf",
            config.display()
        );
        let helper = HelperProcess::start_after(POLICY, &own)?;
        // What pam-auth-update(8) writes into common-auth and its like where the package is installed.
        let module = format!("{} minimum_uid=1000", module()?.display());
        let auth = format!(
            "auth [success=1 default=ignore] {module}\nauth requisite pam_deny.so\nauth required pam_permit.so"
        );
        helper.change_pam_service("@include common-auth", &auth)?;
        for (file, kind) in [("common-account", "account required"), ("common-session", "session optional")] {
            helper.change_pam_service(
                &format!("@include {file}"),
                &format!("@include {file}\n{kind} {module}"),
            )?;
        }
        helper.script("server", SHOW)?;
        Ok(helper)
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        // It has ended by itself if this fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian's pam_krb5, where tests/run has unpacked it, or installed.
fn module() -> Result<PathBuf> {
    let named = std::env::var_os("HUBD_TEST_PAM_KRB5").filter(|name| !name.is_empty()).map(PathBuf::from);
    let folder = format!("lib/{}-linux-gnu/security/pam_krb5.so", std::env::consts::ARCH);
    let places = ["/opt/hubd-tests-kerberos", "/"].map(|place| Path::new(place).join(&folder));
    named
        .into_iter()
        .chain(places)
        .find(|path| path.exists())
        .context("no pam_krb5; sudo tests/run unpacks it")
}

/// The files in the helper's /tmp.
fn caches(helper: &HelperProcess) -> Result<Vec<PathBuf>> {
    fs::read_dir(helper.seen("/tmp"))?.map(|entry| Ok(entry?.path())).collect()
}

/// What the server has printed, to its line that ends with `end`.
fn printed(connection: &mut Connection, end: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    wait_for("the server's lines", || match connection.ask(&Request::Log) {
        Ok(Reply::Log(log)) => {
            lines = log;
            lines.iter().any(|line| line == end)
        }
        _ => false,
    })
    .with_context(|| format!("{lines:?}"))?;
    Ok(lines)
}

#[test]
fn a_login_with_kerberos_gives_the_server_a_ticket_that_ends_with_it() -> Result<()> {
    let user = TestUser::make("realm", &[])?;
    let realm = Realm::start(&user)?;
    let helper = realm.helper()?;
    let mut connection = helper.connect()?;
    let reply = connection.authenticate(&user.name, None, &[REALM_PASSWORD])?.0;
    let Reply::Authenticated(authenticated) = reply else { bail!("{}\n{}", shown(&reply), realm.log()) };
    connection.start(start_of(&user.name, None)?)?;
    let lines = printed(&mut connection, "usable")?;
    let [cache] = &caches(&helper)?[..] else { bail!("{:?}", caches(&helper)) };
    let name = cache.file_name().context("a name")?.to_string_lossy();
    ensure!(lines.first() == Some(&format!("cache=FILE:/tmp/{name}")), "{lines:?}");
    let holds = |text: &str| lines.iter().any(|line| line.contains(text));
    ensure!(holds(&format!("Default principal: {}@HUBT.TEST", user.name)), "{lines:?}");
    ensure!(holds("krbtgt/HUBT.TEST@HUBT.TEST"), "{lines:?}");
    // The realm has handed out what the server asked for with its ticket.
    ensure!(realm.log().contains("for hubt/service@HUBT.TEST"), "{}", realm.log());
    let file = fs::metadata(cache)?;
    ensure!((file.uid(), file.mode() & 0o7777) == (user.uid()?, 0o600), "{file:?}");
    ensure!(connection.stop()?.stopped);
    ensure!(caches(&helper)?.is_empty(), "left behind: {:?}", caches(&helper)?);
    // The next start needs no password, so it has no ticket of the realm; it works all the same, as with an ssh key.
    let mut connection = helper.connect()?;
    connection.start(start_of(&user.name, Some(&authenticated.ticket))?)?;
    let lines = printed(&mut connection, "no ticket")?;
    ensure!(lines.first().map(String::as_str) == Some("cache="), "{lines:?}");
    ensure!(connection.stop()?.stopped && caches(&helper)?.is_empty());
    Ok(())
}

#[test]
fn what_the_realm_refuses_is_refused_and_a_login_without_a_start_leaves_no_ticket() -> Result<()> {
    let user = TestUser::make("norealm", &[])?;
    let realm = Realm::start(&user)?;
    let helper = realm.helper()?;
    // The account's own password is not the realm's.
    for password in ["wrong", PASSWORD] {
        let reply = helper.connect()?.authenticate(&user.name, None, &[password])?.0;
        ensure!(
            matches!(&reply, Reply::Refused(refused) if refused.code == RefusalCode::LoginRefused),
            "{}",
            shown(&reply)
        );
        ensure!(caches(&helper)?.is_empty(), "{:?}", caches(&helper)?);
    }
    let mut connection = helper.connect()?;
    let reply = connection.authenticate(&user.name, None, &[REALM_PASSWORD])?.0;
    ensure!(matches!(reply, Reply::Authenticated(_)), "{}\n{}", shown(&reply), realm.log());
    // While the login is held, the ticket is nobody's but root's.
    let [held] = &caches(&helper)?[..] else { bail!("{:?}", caches(&helper)) };
    let file = fs::metadata(held)?;
    ensure!((file.uid(), file.mode() & 0o7777) == (0, 0o600), "{file:?}");
    drop(connection);
    wait_for("the end of the held login", || caches(&helper).is_ok_and(|left| left.is_empty()))
}
