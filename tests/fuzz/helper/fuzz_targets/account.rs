//! What passwd(5), shadow(5) and a directory may say of an account: whoever is not barred is a person with a login
//! shell and a home, and nobody but root's own line locks an account.
#![no_main]

use std::path::Path;

use hubd_policy::account::{Account, SHELLS, takes};
use hubd_policy::Policy;
use hubd_proto::UserName;

/// The uid that the daemon has here.
const DAEMON: u32 = 1001;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
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
    assert!(!account.is_locked_in(shadow) || shadow.windows(wanted.len()).any(|window| window == wanted));
    if account.bar(&policy, DAEMON, SHELLS).is_none() {
        assert!((1000..=60_000).contains(&uid) && uid != DAEMON);
        assert!(Path::new(home).is_absolute() && shell.starts_with('/') && !shell.ends_with("nologin"));
        assert!(!account.name.as_str().eq_ignore_ascii_case("mallory"));
    }
});
