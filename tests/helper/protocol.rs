//! `src/helper/src/dispatch.rs`, `channel.rs`: what is not a legal message from the daemon
//! ends the process and leaves an audit record.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use hubd_proto::message::{Answer, Authenticate, RefusalCode};
use hubd_proto::{Reply, Request, UserName, frame};
use hubd_tests::helper_process::{HelperProcess, PASSWORD, TestUser, shown, start_of, wait_for};

fn frame_of(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [b"hub\x04".as_slice(), &length, body].concat()
}

/// Sends bytes and expects a `protocol` refusal, then the end of the connection.
fn ends(helper: &HelperProcess, bytes: &[u8]) -> Result<()> {
    let mut connection = helper.connect()?;
    connection.send_bytes(bytes)?;
    connection.0.shutdown(std::net::Shutdown::Write)?;
    match connection.receive()? {
        Reply::Refused(refused) if refused.code == RefusalCode::Protocol => {}
        other => bail!("{}", shown(&other)),
    }
    // The end, or a reset because the helper did not read all that was sent.
    let mut rest = Vec::new();
    let end = connection.0.read_to_end(&mut rest);
    ensure!(
        rest.is_empty() && end.err().is_none_or(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
    Ok(())
}

#[test]
fn malformed_frames_end_the_process() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let long_name = format!(r#"{{"authenticate":{{"user":"{}","source":null}}}}"#, "x".repeat(256));
    let bodies: [&[u8]; 12] = [
        b"",
        b"{}",
        b"null",
        br#""status" "status""#,
        br#"{"become_root":{}}"#,
        br#"{"authenticate":{"user":"alice","source":null,"uid":0}}"#,
        br#"{"authenticate":{"user":"alice","source":"not an address"}}"#,
        br#"{"authenticate":{"user":"../etc","source":null}}"#,
        br#"{"authenticate":{"user":"a\u0000b","source":null}}"#,
        br#"{"authenticate":{"user":"-rf","source":null}}"#,
        b"\xff\xfe",
        long_name.as_bytes(),
    ];
    for body in bodies {
        ends(&helper, &frame_of(body)).map_err(|e| e.context(String::from_utf8_lossy(body).into_owned()))?;
    }
    let headers: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"hub\x04\0\0\0\x02{}",
        b"hub\x04\xff\xff\xff\xff",
        b"hub",
        b"hub\x04\0\0\0\x09{}",
    ];
    for header in headers {
        ends(&helper, header).map_err(|e| e.context(String::from_utf8_lossy(header).into_owned()))?;
    }
    let audit = helper.audit();
    ensure!(audit.matches("protocol violation").count() == bodies.len() + headers.len(), "{audit}");
    Ok(())
}

#[test]
fn a_request_in_the_wrong_state_ends_the_process() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("state", &[])?;
    for request in [Request::Status, Request::Stop, Request::Log, answer("x")] {
        helper.connect()?.refused(&request, RefusalCode::Protocol)?;
    }
    let begin = || {
        anyhow::Ok(Request::Authenticate(Authenticate { user: UserName::new(&*user.name)?, source: None }))
    };
    for request in [Request::Stop, begin()?, Request::Start(Box::new(start_of(&user.name, None)?))] {
        let mut connection = helper.connect()?;
        ensure!(matches!(connection.ask(&begin()?)?, Reply::Prompt(_)));
        connection.refused(&request, RefusalCode::Protocol)?;
    }
    let (mut connection, _) = helper.login(&user)?;
    connection.refused(&begin()?, RefusalCode::Protocol)?;
    let (mut connection, _) = helper.login(&user)?;
    connection.refused(&answer("x"), RefusalCode::Protocol)?;
    Ok(())
}

fn answer(text: &str) -> Request {
    Request::Answer(Answer { text: text.to_owned().into() })
}

#[test]
fn bytes_after_a_message_do_not_jump_ahead() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("ahead", &[])?;
    let begin = Request::Authenticate(Authenticate { user: UserName::new(&*user.name)?, source: None });
    let both = [frame::encode(&begin)?.to_vec(), frame::encode(&Request::Stop)?.to_vec()].concat();
    let mut connection = helper.connect()?;
    connection.send_bytes(&both)?;
    ensure!(matches!(connection.receive()?, Reply::Prompt(_)));
    ensure!(
        matches!(connection.receive()?, Reply::Refused(refused) if refused.code == RefusalCode::Protocol)
    );
    Ok(())
}

#[test]
fn a_message_that_is_not_finished_in_five_seconds_ends_the_process() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let mut connection = helper.connect()?;
    connection.send_bytes(b"hub\x04\0\0\0\x20{")?;
    let begun = Instant::now();
    // A byte now and then does not buy more time.
    while begun.elapsed() < Duration::from_secs(4) {
        std::thread::sleep(Duration::from_millis(500));
        connection.0.write_all(b" ")?;
    }
    ensure!(
        matches!(connection.receive()?, Reply::Refused(refused) if refused.code == RefusalCode::Protocol)
    );
    ensure!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    Ok(())
}

#[test]
fn somebody_else_than_the_daemon_is_not_served() -> Result<()> {
    let user = TestUser::make("stranger", &[])?;
    let daemon = TestUser::make("daemon", &[])?;
    let helper = HelperProcess::start(&format!("daemon_user = \"{}\"", daemon.name))?;
    let socket = helper.socket();
    let mode = std::fs::metadata(&socket)?.permissions().mode() & 0o777;
    ensure!(mode == 0o660, "{mode:o}");
    let ask = |name: &str| -> Result<String> {
        let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.sendall(b'hub\\x04\\0\\0\\0\\x08\"status\"')\nprint(s.recv(9999))";
        let socket = socket.to_string_lossy();
        let output = Command::new("setpriv")
            .args([
                "--reuid",
                name,
                "--regid",
                name,
                "--init-groups",
                "/usr/bin/python3",
                "-c",
                script,
                &socket,
            ])
            .output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    ensure!(ask(&user.name)?.contains("PermissionError"), "{}", ask(&user.name)?);
    // Even past the socket's mode, the kernel says who it is.
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666))?;
    let stranger = ask(&user.name)?;
    let closed = ["b''", "ConnectionReset", "BrokenPipe"].iter().any(|end| stranger.contains(end));
    ensure!(closed, "{stranger}");
    ensure!(ask(&daemon.name)?.contains("not legal"), "{}", ask(&daemon.name)?);
    // This test is root, and not the daemon here.
    let mut root = helper.connect()?;
    ensure!(root.ask(&Request::Status).is_err());
    wait_for("the audit record", || helper.audit().matches("connect refused").count() >= 2)?;
    Ok(())
}

#[test]
fn a_hanging_conversation_blocks_nobody() -> Result<()> {
    let helper = HelperProcess::start("")?;
    let user = TestUser::make("hang", &[])?;
    let mut hanging = Vec::new();
    for _ in 0..20 {
        let mut connection = helper.connect()?;
        let begin = Request::Authenticate(Authenticate { user: UserName::new("hubt-nobody")?, source: None });
        connection.send(&begin)?;
        hanging.push(connection);
    }
    helper.login(&user)?;
    Ok(())
}

#[test]
fn a_module_that_hangs_blocks_nobody_else() -> Result<()> {
    let helper = HelperProcess::start("[profile.default]\nprogram = [\"{dir}/bin/server\"]\n")?;
    helper.script("server", "#!/bin/sh\nexec sleep 1000\n")?;
    let (slow, quick) = (TestUser::make("slow", &[])?, TestUser::make("quick", &[])?);
    let go = helper.dir.path().join("go");
    let wait = format!("while ! [ -e {} ]; do sleep 0.05; done", go.display());
    let module =
        helper.script("module", &format!("#!/bin/sh\n[ $PAM_USER != {} ] || {wait}\n", slow.name))?;
    helper.add_to_pam_service(&format!("auth required pam_exec.so {}", module.display()))?;
    let mut hanging = Vec::new();
    for _ in 0..8 {
        let mut connection = helper.connect()?;
        let user = UserName::new(&*slow.name)?;
        let prompt = connection.ask(&Request::Authenticate(Authenticate { user, source: None }))?;
        ensure!(matches!(prompt, Reply::Prompt(_)), "{}", shown(&prompt));
        connection.send(&answer(PASSWORD))?;
        hanging.push(connection);
    }
    let mut connection = helper.login(&quick)?.0;
    connection.start(start_of(&quick.name, None)?)?;
    ensure!(connection.stop()?.stopped);
    std::fs::write(&go, "")?;
    for connection in &mut hanging {
        let end = connection.receive()?;
        ensure!(matches!(end, Reply::Authenticated(_)), "{}", shown(&end));
    }
    Ok(())
}
