//! Token hashes: `sha512:<rounds>:<salt>:<hex digest>`, the digest over the salt's text and then the token
//! `rounds` times.

use aws_lc_rs::digest::{Context, SHA512};
use subtle::ConstantTimeEq;

/// Rounds for tokens that a program generated: 122 random bits need no stretching.
pub const GENERATED_ROUNDS: u32 = 1;
/// Rounds for OAuth client secrets, and for tokens that a person chose.
pub const CLIENT_SECRET_ROUNDS: u32 = 16384;
/// Longest token in bytes; longer ones never match, so nobody can make the hub hash megabytes.
pub const TOKEN_BYTES_MAX: usize = 64;
/// Length of the `prefix` column, in characters.
const PREFIX_CHARACTERS: usize = 4;

/// `sha512:<rounds>:<salt>:<hex digest>` of a token, as JupyterHub stores it.
pub fn hash_token(token: &str, rounds: u32, salt: [u8; 8]) -> String {
    let salt = hex(&salt);
    format!("sha512:{rounds}:{salt}:{}", digest(token, rounds, &salt))
}

/// Whether `token` has the hash `hashed`; constant time in the digest.
pub fn token_matches(token: &str, hashed: &str) -> bool {
    if token.len() > TOKEN_BYTES_MAX {
        return false;
    }
    let mut parts = hashed.splitn(4, ':');
    let (Some("sha512"), Some(rounds), Some(salt), Some(expected)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(rounds @ 1..=CLIENT_SECRET_ROUNDS) = rounds.parse::<u32>() else { return false };
    digest(token, rounds, salt).as_bytes().ct_eq(expected.as_bytes()).into()
}

/// What the `prefix` column holds: the token's first four characters.
pub fn token_prefix(token: &str) -> String {
    token.chars().take(PREFIX_CHARACTERS).collect()
}

fn digest(token: &str, rounds: u32, salt: &str) -> String {
    let mut context = Context::new(&SHA512);
    context.update(salt.as_bytes());
    for _ in 0..rounds {
        context.update(token.as_bytes());
    }
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("testdata/token_hash.json")).unwrap()
    }

    #[test]
    fn hashes_are_those_of_jupyterhub() {
        for example in vectors()["examples"].as_array().unwrap() {
            let token = example["token"].as_str().unwrap();
            let salt = example["salt_hex_text"].as_str().unwrap();
            let rounds = example["rounds"].as_u64().unwrap() as u32;
            let hashed = format!("sha512:{rounds}:{salt}:{}", digest(token, rounds, salt));
            assert_eq!(hashed, example["hashed"].as_str().unwrap());
            assert!(token_matches(token, &hashed));
            assert_eq!(token_prefix(token), example["prefix"].as_str().unwrap());
        }
    }

    #[test]
    fn only_the_right_token_matches() {
        for example in vectors()["compare"].as_array().unwrap() {
            let matches =
                token_matches(example["token"].as_str().unwrap(), example["hashed"].as_str().unwrap());
            assert_eq!(matches, example["match"].as_bool().unwrap(), "{example}");
        }
    }

    #[test]
    fn a_malformed_hash_matches_nothing() {
        for hashed in
            ["", "sha512", "sha512:1:aa", "md5:1:aa:bb", "sha512:0:aa:", "sha512:x:aa:", "sha512:99999:a:b"]
        {
            assert!(!token_matches("", hashed), "{hashed}");
            assert!(!token_matches("token", hashed), "{hashed}");
        }
    }

    #[test]
    fn salts_are_written_as_sixteen_digits() {
        let hashed = hash_token("abcd", GENERATED_ROUNDS, [0, 1, 2, 3, 4, 5, 6, 255]);
        assert!(hashed.starts_with("sha512:1:00010203040506ff:"));
        assert!(token_matches("abcd", &hashed));
    }
}
