//! What passwd(5), shadow(5) and a directory may say of an account: whoever is not barred is a person with a login
//! shell and a home, and nobody but root's own line locks an account.
#![no_main]

use std::path::Path;

use hubd_proto::UserName;
use nix::unistd::{Gid, Uid};

#[path = "../../../../src/helper/src/account.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod account;
#[path = "../../../../src/helper/src/policy.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod policy;

/// What the policy asks of the rest of the helper.
mod environment {
    pub fn is_dangerous(name: &str) -> bool {
        name.starts_with("LD_")
    }
}

/// What an account asks of the rest of the helper.
mod setup {
    pub struct Setup {
        pub policy: crate::policy::Policy,
        pub root: bool,
        pub daemon_uid: nix::unistd::Uid,
        pub runtime: std::path::PathBuf,
    }
}

/// The uid that the daemon has here.
const DAEMON: u32 = 1001;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let setup = setup::Setup {
        policy: policy::Policy { denied_users: vec!["Mallory".into()], ..policy::Policy::default() },
        root: true,
        daemon_uid: Uid::from_raw(DAEMON),
        runtime: "/run/hubd".into(),
    };
    // name:password:uid:gid:gecos:home:shell, then a text of shadow(5).
    let (line, shadow) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let Ok(line) = std::str::from_utf8(line) else { return };
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return };
    let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { return };
    let Ok(name) = UserName::new(name) else { return };
    if account::takes(&setup.policy, name.as_str()) {
        let usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
        assert!(name.as_str().len() <= 32 && name.as_str().chars().all(usual));
    }
    let locked = account::is_locked_in(shadow, &name);
    let wanted = [name.as_str().as_bytes(), b":!"].concat();
    assert!(!locked || shadow.windows(wanted.len()).any(|window| window == wanted));
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let account = account::Account { name, uid, gid, home: home.into(), shell: shell.into() };
    if account.bar(&setup).is_none() {
        assert!((1000..=60_000).contains(&uid.as_raw()) && uid.as_raw() != DAEMON);
        assert!(Path::new(home).is_absolute() && shell.starts_with('/') && !shell.ends_with("nologin"));
        assert!(!account.name.as_str().eq_ignore_ascii_case("mallory"));
    }
});
