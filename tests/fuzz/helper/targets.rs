//! What a fuzzer, or a test with what fuzzers have found, does with some bytes: input of the root helper, held against
//! what may ever come of it.
//!
//! Used by `fuzz_targets` beside this file and by `tests/helper/replay.rs`.

use std::path::Path;

use hubd_policy::account::{Account, SHELLS, takes};
use hubd_policy::{Policy, environment};
use hubd_proto::{Reply, UserName, frame};

/// The uid that the daemon has here.
const DAEMON: u32 = 1001;

/// Everything that a daemon may send on one connection: a message is taken and stays what it was, or refused.
pub fn protocol(data: &[u8]) {
    let mut wire = data;
    while let Ok(body) = frame::read_body(&mut wire) {
        assert!(body.len() <= hubd_proto::FRAME_BYTES_MAX);
        message(&body);
    }
    // Whatever length the header gives.
    message(data.get(frame::HEADER_BYTES..).unwrap_or_default());
    let _ = frame::decode::<Reply>(data);
}

fn message(body: &[u8]) {
    let Ok(request) = frame::decode_request(body) else { return };
    // Escapes may make it longer than a frame; then nobody could have sent it in this form.
    if let Ok(again) = frame::encode(&request) {
        let body = again.get(frame::HEADER_BYTES..).unwrap_or_default();
        let same = frame::decode_request(body).ok().and_then(|request| frame::encode(&request).ok());
        assert!(same.is_some_and(|same| same == again), "another message after it was written and read");
    }
}

/// Root's policy file: it is taken, and then keeps what its manual says, or refused with words.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Policy::parse(text) {
        Ok(policy) => {
            assert!(policy.min_uid > 0 && policy.min_uid <= policy.max_uid);
            assert!(policy.state_dir.is_absolute() && policy.profile.contains_key("default"));
            assert!(
                policy.profile.values().all(|profile| profile.program.iter().all(|path| path.is_absolute()))
            );
            assert!(!policy.allow_environment.iter().any(|name| environment::is_dangerous(name)));
            let fresh = |group| policy.fresh_password_groups.contains(group);
            assert!(!policy.standing_groups.iter().any(fresh));
        }
        Err(what) => assert!(!what.is_empty()),
    }
}

/// What passwd(5), shadow(5) and a directory may say of an account: whoever is not barred is a person with a login
/// shell and a home, and nobody but root's own line locks an account.
pub fn account(data: &[u8]) {
    let policy = Policy { denied_users: vec!["Mallory".into()], ..Policy::default() };
    // name:password:uid:gid:gecos:home:shell, then a text of shadow(5).
    let (line, shadow) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let Ok(line) = std::str::from_utf8(line) else { return };
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return };
    let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { return };
    let Ok(name) = UserName::new(name) else { return };
    if takes(&policy, name.as_str()) {
        let usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
        assert!(name.as_str().len() <= 32 && name.as_str().chars().all(usual));
    }
    let account = Account { name, uid, gid, home: home.into(), shell: shell.into() };
    let wanted = [account.name.as_str().as_bytes(), b":!"].concat();
    let lines = shadow.split(|&byte| byte == b'\n');
    assert_eq!(account.is_locked_in(shadow), lines.into_iter().any(|line| line.starts_with(&wanted)));
    if account.bar(&policy, DAEMON, SHELLS).is_none() {
        assert!((1000..=60_000).contains(&uid) && uid != DAEMON);
        assert!(Path::new(home).is_absolute() && shell.starts_with('/') && !shell.ends_with("nologin"));
        assert!(!account.name.as_str().eq_ignore_ascii_case("mallory"));
    }
}
