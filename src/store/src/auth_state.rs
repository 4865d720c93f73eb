//! `users.encrypted_auth_state`: what the authenticator keeps about somebody, as a Fernet token of JSON text.
//!
//! The keys are `JUPYTERHUB_CRYPT_KEY`, used as they are: the first half signs, the second encrypts
//! (<https://github.com/fernet/spec>). The first key encrypts, all of them decrypt.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::cipher::{
    AES_128, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rusqlite::{OptionalExtension, params};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::encoding::{from_json, to_json};
use crate::{Store, StoreError};

/// Length of a key, in bytes.
const KEY_BYTES: usize = 32;
/// Length of the half that signs, and of the half that encrypts.
const HALF_BYTES: usize = 16;
/// The first byte of a token.
const VERSION: u8 = 0x80;
/// Version, time and initialisation vector.
const HEAD_BYTES: usize = 1 + 8 + 16;
/// Length of the signature.
const SIGNATURE_BYTES: usize = 32;
/// Largest stored token in bytes: far beyond what an authenticator keeps.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// Why text holds no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Encryption keys must be 32 bytes, hex or base64-encoded.")]
pub struct BadKey;

/// The keys, the first of which encrypts.
#[derive(Default)]
pub struct CryptKeys(Vec<Zeroizing<[u8; KEY_BYTES]>>);

/// What came of reading somebody's `auth_state`.
#[derive(Debug, PartialEq)]
pub enum AuthState {
    /// Nothing is stored.
    None,
    /// This.
    Known(Value),
    /// None of the keys fits, or there is no key.
    Unreadable,
}

impl CryptKeys {
    /// Keys as in `JUPYTERHUB_CRYPT_KEY`: separated by `;`, each 64 hex digits, 44 characters of base64, or 32 bytes.
    ///
    /// # Errors
    /// One of them is something else.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let keys = text.split(';').filter(|key| !key.trim().is_empty());
        keys.map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A Fernet token of JSON text, if there is a key. `iv` must be random, and another one each time.
    pub fn encrypt(&self, value: &Value, iv: [u8; 16], now: SystemTime) -> Option<String> {
        seal(self.0.first()?, to_json(value).ok()?, iv, now)
    }

    /// What a Fernet token holds, if one of the keys made it.
    pub fn decrypt(&self, token: &str) -> Option<Value> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let token = URL_SAFE.decode(token).ok()?;
        let text = self.0.iter().find_map(|key| open(key, &token))?;
        from_json(std::str::from_utf8(&text).ok()?).ok()
    }
}

/// One key.
fn key(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, BadKey> {
    let raw = match text.len() {
        // Python's decoder takes both alphabets.
        44 => STANDARD.decode(text.replace('-', "+").replace('_', "/")).ok(),
        64 => (0..KEY_BYTES)
            .map(|index| u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok())
            .collect(),
        _ => None,
    };
    let raw = Zeroizing::new(raw.unwrap_or_else(|| text.as_bytes().to_vec()));
    Ok(Zeroizing::new(raw.as_slice().try_into().map_err(|_| BadKey)?))
}

/// A token with this text.
fn seal(key: &[u8; KEY_BYTES], text: String, iv: [u8; 16], now: SystemTime) -> Option<String> {
    let (sign, encrypt) = key.split_at(HALF_BYTES);
    let mut body = Zeroizing::new(text.into_bytes());
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, encrypt).ok()?).ok()?;
    cipher.less_safe_encrypt(&mut *body, EncryptionContext::Iv128(iv.into())).ok()?;
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut token = vec![VERSION];
    token.extend(seconds.to_be_bytes());
    token.extend(iv);
    token.extend(body.iter());
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, sign), &token);
    token.extend(signature.as_ref());
    Some(URL_SAFE.encode(token))
}

/// The text in a token that this key signed.
fn open(key: &[u8; KEY_BYTES], token: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (sign, encrypt) = key.split_at(HALF_BYTES);
    let (signed, signature) = token.split_at_checked(token.len().checked_sub(SIGNATURE_BYTES)?)?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, sign), signed, signature).ok()?;
    let (head, body) = signed.split_at_checked(HEAD_BYTES)?;
    if head.first() != Some(&VERSION) {
        return None;
    }
    let iv: [u8; 16] = head.get(9..)?.try_into().ok()?;
    let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, encrypt).ok()?).ok()?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = cipher.decrypt(&mut body, DecryptionContext::Iv128(iv.into())).ok()?.len();
    body.truncate(length);
    Some(body)
}

impl Store {
    /// Somebody's `auth_state`.
    pub fn auth_state(&self, user_id: i64, keys: &CryptKeys) -> Result<AuthState, StoreError> {
        let stored = self.read(|connection| {
            let sql = "SELECT encrypted_auth_state FROM users WHERE id = ?1";
            let mut select = connection.prepare_cached(sql)?;
            Ok(select.query_row([user_id], |row| row.get::<_, Option<Vec<u8>>>(0)).optional()?.flatten())
        })?;
        let Some(token) = stored else { return Ok(AuthState::None) };
        let value = std::str::from_utf8(&token).ok().and_then(|token| keys.decrypt(token));
        Ok(value.map_or(AuthState::Unreadable, AuthState::Known))
    }

    /// Stores what [`CryptKeys::encrypt`] made, or nothing.
    pub fn set_auth_state(&self, user_id: i64, token: Option<&str>) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE users SET encrypted_auth_state = ?2
                     WHERE id = ?1 AND encrypted_auth_state IS NOT ?2",
                )?
                .execute(params![user_id, token.map(str::as_bytes)])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn vector() -> Value {
        serde_json::from_str(include_str!("testdata/auth_state.json")).unwrap()
    }

    #[test]
    fn tokens_are_jupyterhubs_to_the_byte_both_ways() {
        let vector = vector();
        let keys = CryptKeys::parse(vector["key_hex"].as_str().unwrap()).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(vector["timestamp"].as_u64().unwrap());
        let iv: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let token = vector["encrypted"].as_str().unwrap();
        let text = vector["plaintext"].as_str().unwrap().to_owned();
        assert_eq!(seal(&keys.0[0], text, iv, now).as_deref(), Some(token));
        assert_eq!(keys.decrypt(token).as_ref(), Some(&vector["auth_state"]));
    }

    #[test]
    fn keys_are_read_as_jupyterhub_reads_them() {
        for case in vector()["key_parsing"].as_array().unwrap() {
            let keys = CryptKeys::parse(case["input"].as_str().unwrap());
            let hex =
                keys.ok().map(|keys| keys.0[0].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            assert_eq!(hex.as_deref(), case["key_hex"].as_str(), "{case}");
        }
        assert!(CryptKeys::parse("").unwrap().is_empty() && CryptKeys::parse(" ; ").unwrap().is_empty());
    }

    #[test]
    fn the_first_key_encrypts_and_every_key_decrypts() {
        let (old, new) = ("a".repeat(32), "b".repeat(32));
        let value = json!({ "token": "x" });
        let keys = |text: &str| CryptKeys::parse(text).unwrap();
        let token = keys(&old).encrypt(&value, [1; 16], UNIX_EPOCH).unwrap();
        let both = keys(&format!("{new};{old}"));
        assert_eq!(both.decrypt(&token), Some(value.clone()));
        let rotated = both.encrypt(&value, [2; 16], UNIX_EPOCH).unwrap();
        assert_eq!(keys(&new).decrypt(&rotated), Some(value));
        assert_eq!((keys(&new).decrypt(&token), CryptKeys::default().decrypt(&token)), (None, None));
        assert_eq!(CryptKeys::default().encrypt(&json!({}), [0; 16], UNIX_EPOCH), None);
    }

    #[test]
    fn a_token_that_was_changed_or_cut_is_not_read() {
        let keys = CryptKeys::parse(&"k".repeat(32)).unwrap();
        let token = keys.encrypt(&json!({ "a": 1 }), [3; 16], UNIX_EPOCH).unwrap();
        let raw = URL_SAFE.decode(&token).unwrap();
        for index in 0..raw.len() {
            let mut changed = raw.clone();
            changed[index] ^= 1;
            assert_eq!(keys.decrypt(&URL_SAFE.encode(&changed)), None, "byte {index}");
            assert_eq!(keys.decrypt(&URL_SAFE.encode(&raw[..index])), None, "cut at {index}");
        }
        assert_eq!(keys.decrypt("not base64!"), None);
    }
}
