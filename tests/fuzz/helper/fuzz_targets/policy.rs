//! Root's policy file: it is taken, and then keeps what its manual says, or refused with words.
#![no_main]

use hubd_policy::{Policy, environment};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Policy::parse(text) {
        Ok(policy) => {
            assert!(policy.min_uid > 0 && policy.min_uid <= policy.max_uid);
            assert!(policy.state_dir.is_absolute() && policy.profile.contains_key("default"));
            assert!(policy.profile.values().all(|profile| profile.program.iter().all(|path| path.is_absolute())));
            assert!(!policy.allow_environment.iter().any(|name| environment::is_dangerous(name)));
        }
        Err(what) => assert!(!what.is_empty()),
    }
});
