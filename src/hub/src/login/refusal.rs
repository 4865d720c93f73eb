//! What people are told when a login does not succeed.

use hubd_proto::message::{Notice, RefusalCode};

use crate::helper::HelperError;
use crate::pages::language::text;

/// A login that did not succeed.
#[derive(Debug, Clone)]
pub struct LoginRefused {
    /// HTTP status of the answer: 403, 429 or 503.
    pub status: u16,
    /// Stable code, for instance `login-refused`.
    pub code: String,
    /// For the person: what happened and what to do.
    pub message: String,
    /// What PAM said.
    pub notices: Vec<Notice>,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
}

/// How long somebody who finds all places taken is told to wait, in seconds.
const TOO_MANY_RETRY_SECONDS: u32 = 30;
/// How long somebody waits for the helper or the database to be mended before it makes sense to try again, in seconds.
const BROKEN_RETRY_SECONDS: u32 = 30;

impl LoginRefused {
    fn new(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            notices: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// One answer for all that a guesser must not tell apart.
    pub(super) fn uniform() -> Self {
        Self::new(403, RefusalCode::LoginRefused.as_str(), text!("Invalid username or password"))
    }

    /// For somebody who has proved who they are: they may know that it was not the password.
    pub(super) fn not_allowed() -> Self {
        Self::new(
            403,
            "not-allowed",
            text!(
                "The password is right, but this account may not use this hub. Ask the administrator to allow it."
            ),
        )
    }

    pub(super) fn took_too_long() -> Self {
        Self::new(
            403,
            "login-expired",
            text!("This login took too long, or was answered twice. Please log in again."),
        )
    }

    pub(super) fn too_many() -> Self {
        let mut refused = Self::new(
            429,
            RefusalCode::RateLimited.as_str(),
            text!("Too many logins are in progress right now. Try again in a moment."),
        );
        refused.retry_after_seconds = Some(TOO_MANY_RETRY_SECONDS);
        refused
    }

    pub(super) fn database(error: &hubd_store::StoreError) -> Self {
        tracing::error!(%error, "cannot look up a user at login");
        Self::broken("database", text!("The hub's database cannot be used at the moment. Try again soon."))
    }

    fn broken(code: &str, message: &str) -> Self {
        let mut refused = Self::new(503, code, message);
        refused.retry_after_seconds = Some(BROKEN_RETRY_SECONDS);
        refused
    }

    /// What the helper's refusal means for the person; the operator reads the rest in the log.
    pub(super) fn from_helper(error: HelperError, mut notices: Vec<Notice>) -> Self {
        let refusal = match error {
            HelperError::Refused(refusal) => refusal,
            HelperError::Timeout(_) => {
                return Self::broken(
                    "helper-unreachable",
                    text!(
                        "The login took too long. Try again; if it happens again, tell your administrator."
                    ),
                );
            }
            _ => {
                return Self::broken(
                    "helper-unreachable",
                    text!(
                        "Logins do not work at the moment. Your administrator finds the reason in the hub's log."
                    ),
                );
            }
        };
        notices.extend(refusal.notices.iter().map(|text| Notice { error: true, text: text.clone() }));
        let mut refused = match refusal.code {
            RefusalCode::LoginRefused => Self::uniform(),
            code @ (RefusalCode::AccountClosed | RefusalCode::AccountBarred) => {
                Self::new(403, code.as_str(), &refusal.message)
            }
            code @ RefusalCode::RateLimited => Self::new(429, code.as_str(), &refusal.message),
            code => Self::broken(code.as_str(), &refusal.message),
        };
        if refusal.retry_after_seconds.is_some() {
            refused.retry_after_seconds = refusal.retry_after_seconds;
        }
        refused.notices = notices;
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubd_proto::message::Refused;

    fn told(code: RefusalCode) -> LoginRefused {
        let refusal = Refused {
            code,
            message: "because".into(),
            notices: vec!["pam says".into()],
            retry_after_seconds: (code == RefusalCode::RateLimited).then_some(7),
        };
        LoginRefused::from_helper(HelperError::Refused(Box::new(refusal)), Vec::new())
    }

    #[test]
    fn a_wrong_password_has_the_uniform_text_whatever_the_helper_said() {
        let refused = told(RefusalCode::LoginRefused);
        assert_eq!((refused.status, refused.message.as_str()), (403, "Invalid username or password"));
        assert_eq!(refused.notices.len(), 1);
    }

    #[test]
    fn every_other_refusal_has_the_helpers_words_and_a_fitting_status() {
        assert_eq!(
            (told(RefusalCode::AccountClosed).status, told(RefusalCode::AccountBarred).status),
            (403, 403)
        );
        let limited = told(RefusalCode::RateLimited);
        assert_eq!((limited.status, limited.retry_after_seconds), (429, Some(7)));
        let system = told(RefusalCode::System);
        assert_eq!(
            (system.status, system.message.as_str(), system.code.as_str()),
            (503, "because", "system")
        );
    }

    #[test]
    fn a_missing_helper_is_not_explained_to_strangers() {
        let error = HelperError::Timeout(std::time::Duration::from_secs(1));
        let refused = LoginRefused::from_helper(error, Vec::new());
        assert_eq!((refused.status, refused.code.as_str()), (503, "helper-unreachable"));
        assert!(!refused.message.contains("systemctl"));
    }
}
