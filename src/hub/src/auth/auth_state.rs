//! What the authenticator keeps about somebody, encrypted in the database. Pages and models never carry the cipher.

use hubd_store::{AuthState, StoreError, User};
use serde_json::Value;

use crate::Hub;
use crate::error::HttpError;

impl Hub {
    /// Somebody's `auth_state`; `null` if there is none, or none that can be read. With several keys what was read is
    /// stored with the first one, so that old keys can go.
    pub(crate) fn auth_state(&self, user: &User) -> Result<Value, StoreError> {
        let keys = &self.settings.crypt_keys;
        match self.store.auth_state(user.id, keys)? {
            AuthState::None => Ok(Value::Null),
            AuthState::Known(value) => {
                if keys.len() > 1
                    && let Some(token) = self.seal(&value)
                    && let Err(error) = self.store.set_auth_state(user.id, Some(&token))
                {
                    tracing::warn!(%error, "cannot store the auth_state of {} with the first key", user.name);
                }
                Ok(value)
            }
            AuthState::Unreadable => {
                let why = if keys.is_empty() {
                    "Encryption keys must be specified in JUPYTERHUB_CRYPT_KEY env"
                } else {
                    "none of the keys in JUPYTERHUB_CRYPT_KEY fits"
                };
                tracing::warn!("Failed to retrieve encrypted auth_state for {} because {why}", user.name);
                Ok(Value::Null)
            }
        }
    }

    /// What is stored of an `auth_state`; `null` is nothing.
    ///
    /// # Errors
    /// There is no key.
    pub(crate) fn sealed_auth_state(&self, value: &Value) -> Result<Option<String>, HttpError> {
        if value.is_null() {
            return Ok(None);
        }
        let text = "user.auth_state cannot be stored: the hub has no JUPYTERHUB_CRYPT_KEY to encrypt it";
        self.seal(value).map(Some).ok_or_else(|| HttpError::bad_request(text))
    }

    fn seal(&self, value: &Value) -> Option<String> {
        let mut iv = [0; 16];
        self.random.fill(&mut iv);
        self.settings.crypt_keys.encrypt(value, iv, self.clock.now())
    }
}
