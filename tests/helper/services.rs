//! `src/policy/src/service.rs`: services that root's policy names, and what a daemon may not make of them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Result, ensure};
use hubd_proto::message::{Endpoint, RefusalCode, StartService};
use hubd_proto::{Reply, Request, Secret, ServerName, UserName};
use hubd_tests::helper_process::{Connection, HelperProcess, TestUser, shown, wait_for};

struct Case {
    helper: HelperProcess,
    person: TestUser,
    system: TestUser,
}

impl Case {
    fn new() -> Result<Self> {
        let person = TestUser::make("svc", &[])?;
        let system = TestUser::make("sys", &["-r", "-s", "/usr/sbin/nologin", "-G", "adm"])?;
        let (own, other) = (&person.name, &system.name);
        let helper = HelperProcess::start(&format!(
            r#"
starts_per_user_per_minute = 1000
[service.own]
user = "{own}"
command = ["{{dir}}/bin/service", "--fixed"]
environment = {{ FROM_ROOT = "yes" }}
[service.system]
user = "{other}"
system_account = true
directory = "/"
command = ["{{dir}}/bin/service"]
[service.barred]
user = "{other}"
command = ["{{dir}}/bin/service"]
[service.root]
user = "root"
system_account = true
command = ["{{dir}}/bin/service"]
[service.writable]
user = "{own}"
command = ["/tmp/hubt-service"]
"#
        ))?;
        helper.script(
            "service",
            "#!/bin/sh\nid -u; pwd; echo $FROM_ROOT $JUPYTERHUB_API_URL \"$@\"\nexec sleep 1000\n",
        )?;
        Ok(Self { helper, person, system })
    }

    fn wanted(&self, service: &str, arguments: &[&str]) -> Result<StartService> {
        let program = self.helper.dir.path().join("bin/service").to_string_lossy().into_owned();
        let words = std::iter::once(program).chain(arguments.iter().map(|word| (*word).to_owned()));
        Ok(StartService {
            service: ServerName::new(service)?,
            user: None,
            command: words.collect(),
            directory: None,
            environment: [("JUPYTERHUB_API_URL".to_owned(), Secret::new("http://hub".into()))].into(),
            note: "{}".into(),
        })
    }

    fn refused(&self, wanted: StartService, code: RefusalCode) -> Result<String> {
        let refused = self.helper.connect()?.refused(&Request::StartService(wanted), code)?;
        for dir in ["run/servers", "run/sessions"] {
            ensure!(fs::read_dir(self.helper.dir.path().join(dir))?.count() == 0, "{dir}");
        }
        Ok(refused.message)
    }
}

#[test]
fn a_service_runs_as_root_wrote_and_is_supervised_as_a_server_is() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    let wanted = Request::StartService(case.wanted("own", &["--fixed"])?);
    let Reply::Started(status) = connection.ask(&wanted)? else { anyhow::bail!("not started") };
    ensure!(status.endpoint == Endpoint::Service && status.server.as_str() == "own", "{status:?}");
    ensure!(status.user.as_str() == case.person.name && status.uid == case.person.uid()?);
    ensure!(fs::metadata(format!("/proc/{}", status.pid))?.uid() == status.uid);
    let mut control = Connection::open(&case.helper.control(&status))?;
    let mut lines = Vec::new();
    wait_for("the service's output", || {
        let Ok(Reply::Log(log)) = control.ask(&Request::Log) else { return false };
        lines = log;
        lines.len() == 3
    })?;
    let home = case.person.home.to_string_lossy().into_owned();
    ensure!(lines == [status.uid.to_string(), home, "yes http://hub --fixed".to_owned()], "{lines:?}");
    let again = case.wanted("own", &["--fixed"])?;
    case.helper.connect()?.refused(&Request::StartService(again), RefusalCode::AlreadyRunning)?;
    let audit = case.helper.audit();
    ensure!(audit.contains("start_service accepted user=own"));
    ensure!(connection.stop()?.stopped);
    wait_for("the end of it all", || case.person.processes().is_ok_and(|count| count == 0))
}

#[test]
fn a_system_account_serves_only_where_root_wrote_so_and_never_root() -> Result<()> {
    let case = Case::new()?;
    let mut connection = case.helper.connect()?;
    let status = match connection.ask(&Request::StartService(case.wanted("system", &[])?))? {
        Reply::Started(status) => status,
        other => anyhow::bail!("{}", shown(&other)),
    };
    ensure!(status.uid == case.system.uid()? && status.uid < 1000, "{status:?}");
    ensure!(fs::read_link(format!("/proc/{}/cwd", status.pid))?.to_str() == Some("/"));
    connection.stop()?;
    let message = case.refused(case.wanted("barred", &[])?, RefusalCode::AccountBarred)?;
    ensure!(message.contains("is not between"), "{message}");
    let message = case.refused(case.wanted("root", &[])?, RefusalCode::AccountBarred)?;
    ensure!(message.contains("uid 0 never"), "{message}");
    case.person.modify(&["-a", "-G", "adm"])?;
    let message = case.refused(case.wanted("own", &["--fixed"])?, RefusalCode::AccountBarred)?;
    ensure!(message.contains("member of adm"), "{message}");
    Ok(())
}

#[test]
fn a_daemon_cannot_name_another_command_account_directory_or_variable() -> Result<()> {
    let case = Case::new()?;
    let unknown = case.refused(case.wanted("none", &[])?, RefusalCode::ProfileUnknown)?;
    ensure!(unknown.contains("[service.none]"), "{unknown}");
    let own = || case.wanted("own", &["--fixed"]);
    let other = UserName::new(case.system.name.as_str())?;
    for (key, wanted) in [
        ("command", StartService { command: vec!["/bin/sh".into()], ..own()? }),
        ("command", StartService { command: Vec::new(), ..own()? }),
        ("user", StartService { user: Some(other), ..own()? }),
        ("directory", StartService { directory: Some("/".into()), ..own()? }),
    ] {
        let message = case.refused(wanted, RefusalCode::ProfileUnknown)?;
        ensure!(message.contains(&format!("`{key}`")), "{message}");
    }
    for name in ["LD_PRELOAD", "PATH", "FROM_ROOT"] {
        let environment = [(name.to_owned(), Secret::new("x".into()))].into();
        case.refused(StartService { environment, ..own()? }, RefusalCode::EnvironmentRefused)?;
    }
    let program = vec!["/tmp/hubt-service".to_owned()];
    let wanted = StartService { command: program, ..case.wanted("writable", &[])? };
    case.refused(wanted, RefusalCode::ProgramMissing)?;
    Ok(())
}
