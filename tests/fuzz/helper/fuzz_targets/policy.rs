//! Root's policy file: it is taken, and then keeps what its manual says, or refused with words.
#![no_main]

#[path = "../../../../src/helper/src/policy.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod policy;

/// What the policy asks of the rest of the helper.
mod environment {
    pub fn is_dangerous(name: &str) -> bool {
        name.starts_with("LD_")
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match policy::Policy::parse(text) {
        Ok(policy) => {
            assert!(policy.min_uid > 0 && policy.min_uid <= policy.max_uid);
            assert!(policy.state_dir.is_absolute() && policy.profile.contains_key("default"));
            assert!(policy.profile.values().all(|profile| profile.program.iter().all(|path| path.is_absolute())));
        }
        Err(what) => assert!(!what.is_empty()),
    }
});
