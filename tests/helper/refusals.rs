//! What a start may not ask for, each with its code, a word about the cure, and nothing left behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use anyhow::{Result, ensure};
use hubd_proto::message::{RefusalCode, Start};
use hubd_proto::{ProfileName, Request, Secret};
use hubd_tests::helper_process::{HelperProcess, TestUser, start_of};

const POLICY: &str = r#"
allow_arguments = ["--debug", "--ServerApp.default_url=*"]
allow_environment = ["MY_OPTION"]
starts_per_user_per_minute = 1000
[profile.default]
program = ["{dir}/bin/server"]
[profile.missing]
program = ["{dir}/bin/none", "/nowhere/else"]
[profile.writable]
program = ["{dir}/bin/writable"]
[profile.others]
program = ["{dir}/bin/others"]
[profile.linked]
program = ["{dir}/bin/linked"]
[profile.script]
program = ["{dir}/bin/script"]
[profile.broken]
program = ["{dir}/bin/broken"]
[profile.plain]
program = ["{dir}/bin/plain"]
"#;

struct Case {
    helper: HelperProcess,
    user: TestUser,
    ticket: Secret,
}

impl Case {
    fn new() -> Result<Self> {
        let helper = HelperProcess::start(POLICY)?;
        helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
        let user = TestUser::make("ask", &[])?;
        let ticket = helper.login(&user)?.1.ticket;
        Ok(Self { helper, user, ticket })
    }

    fn refused(&self, code: RefusalCode, change: impl FnOnce(&mut Start)) -> Result<String> {
        let mut start = start_of(&self.user.name, Some(&self.ticket))?;
        change(&mut start);
        let refused = self.helper.connect()?.refused(&Request::Start(Box::new(start)), code)?;
        for dir in ["run/servers", "run/sessions"] {
            let left = fs::read_dir(self.helper.dir.path().join(dir))?.count();
            ensure!(left == 0, "{dir} holds {left} after {}", code.as_str());
        }
        Ok(refused.message)
    }

    fn refused_profile(&self, code: RefusalCode, profile: &str) -> Result<String> {
        let profile = ProfileName::new(profile)?;
        self.refused(code, |start| start.profile = Some(profile))
    }
}

#[test]
fn variables_that_are_not_jupyterhubs_or_named_by_root_are_refused() -> Result<()> {
    let case = Case::new()?;
    for name in
        ["LD_PRELOAD", "PYTHONPATH", "PATH", "HOME", "BASH_ENV", "JUPYTERHUB_SINGLEUSER_APP", "OTHER", ""]
    {
        let set = |start: &mut Start| {
            start.environment.insert(name.to_owned(), Secret::new("/tmp/x".into()));
        };
        let message = case.refused(RefusalCode::EnvironmentRefused, set)?;
        ensure!(message.contains(name), "{message}");
    }
    let mut good = start_of(&case.user.name, Some(&case.ticket))?;
    for name in ["JUPYTERHUB_API_TOKEN", "MEM_LIMIT", "MY_OPTION"] {
        good.environment.insert(name.to_owned(), Secret::new("value".into()));
    }
    case.helper.connect()?.start(good)?;
    Ok(())
}

#[test]
fn arguments_that_root_does_not_allow_are_refused() -> Result<()> {
    let case = Case::new()?;
    for argument in ["--config=/tmp/x.py", "--debug=1", "--ServerApp.sock=/tmp/s", "-c", ""] {
        let message = case.refused(RefusalCode::ArgumentRefused, |start| {
            start.arguments = vec!["--debug".into(), argument.to_owned()];
        })?;
        ensure!(message.contains("allow_arguments"), "{message}");
    }
    Ok(())
}

#[test]
fn a_profile_or_program_that_is_not_there_is_named() -> Result<()> {
    let case = Case::new()?;
    let message = case.refused_profile(RefusalCode::ProfileUnknown, "none")?;
    ensure!(message.contains("[profile.none]"), "{message}");
    let message = case.refused_profile(RefusalCode::ProgramMissing, "missing")?;
    ensure!(message.contains("/nowhere/else") && message.contains("Install"), "{message}");
    Ok(())
}

#[test]
fn a_program_that_others_could_change_is_not_run() -> Result<()> {
    let case = Case::new()?;
    let bin = case.helper.dir.path().join("bin");
    let writable = case.helper.script("writable", "#!/bin/sh\n")?;
    fs::set_permissions(&writable, fs::Permissions::from_mode(0o777))?;
    let message = case.refused_profile(RefusalCode::ProgramMissing, "writable")?;
    ensure!(message.contains("chmod go-w"), "{message}");
    let others = case.helper.script("others", "#!/bin/sh\n")?;
    chown(&others, Some(case.user.uid()?), None)?;
    let message = case.refused_profile(RefusalCode::ProgramMissing, "others")?;
    ensure!(message.contains("chown root"), "{message}");
    let own = case.user.home.join("own");
    fs::copy("/bin/sleep", &own)?;
    symlink(&own, bin.join("linked"))?;
    let message = case.refused_profile(RefusalCode::ProgramMissing, "linked")?;
    ensure!(message.contains(&case.user.name), "{message}");
    case.helper.script("script", &format!("#!{}\n", own.display()))?;
    case.refused_profile(RefusalCode::ProgramMissing, "script")?;
    let plain = case.helper.script("plain", "text")?;
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644))?;
    let message = case.refused_profile(RefusalCode::ProgramMissing, "plain")?;
    ensure!(message.contains("chmod 755"), "{message}");
    Ok(())
}

#[test]
fn a_program_that_cannot_be_executed_and_a_bad_home_say_so() -> Result<()> {
    let case = Case::new()?;
    case.helper.script("broken", "#!/bin/sh-that-is-not-there\n")?;
    let path = case.helper.dir.path().join("bin/broken");
    let message = case.refused_profile(RefusalCode::ProgramMissing, "broken")?;
    ensure!(message.contains("sh-that-is-not-there"), "{message} {}", path.display());
    case.helper.script("broken", "\u{7f}ELF nonsense")?;
    case.refused_profile(RefusalCode::ExecFailed, "broken")?;
    fs::set_permissions(&case.user.home, fs::Permissions::from_mode(0o000))?;
    let message = case.refused(RefusalCode::HomeUnusable, |_| {})?;
    ensure!(message.contains("Permission denied"), "{message}");
    fs::set_permissions(&case.user.home, fs::Permissions::from_mode(0o755))?;
    chown(&case.user.home, Some(0), None)?;
    let message = case.refused(RefusalCode::HomeUnusable, |_| {})?;
    ensure!(message.contains("does not belong"), "{message}");
    fs::rename(&case.user.home, case.user.home.with_extension("away"))?;
    let message = case.refused(RefusalCode::HomeUnusable, |_| {});
    fs::rename(case.user.home.with_extension("away"), &case.user.home)?;
    ensure!(message?.contains("No such file"));
    Ok(())
}

#[test]
fn a_refused_session_of_pam_says_what_modules_said() -> Result<()> {
    let case = Case::new()?;
    case.helper.add_to_pam_service("session required pam_deny.so")?;
    case.refused(RefusalCode::SessionRefused, |_| {})?;
    Ok(())
}
