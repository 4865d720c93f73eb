//! PAM behind one door: the conversation as frames, and a handle that lives from login to logout.
//!
//! Nothing outside this file knows `pam-client`, so that it can be exchanged. libpam calls [`Talk`] from
//! C through pam-client's `extern "C"` function, which ends the process on a panic instead of unwinding.

use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};
use std::{cell::RefCell, path::Path, rc::Rc};

use hubd_proto::message::{Notice, Prompt};
use hubd_proto::{Reply, Request, UserName};
use pam_client::{Context, ConversationHandler, ErrorCode, Flag, SessionToken};

use crate::channel::{Channel, ChannelError};
use crate::{account::same_name, dispatch::State, unix};

/// Most prompts and messages of one conversation: a broken module must not talk for ever.
const MESSAGES_MAX: u32 = 64;
/// Most messages kept to explain a refusal.
const NOTICES_MAX: usize = 8;
/// Longest message of a module, in bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 512;
/// What replaces the answers for an account that must not log in; no terminal can type it.
const JUNK: &[u8] = b"\x08\n\r\x7fINCORRECT";

/// One person, as PAM modules talk to them.
pub struct Talk {
    /// Where prompts go; `None` when nobody is there to answer.
    channel: Option<Channel>,
    /// Whether answers are replaced by [`JUNK`].
    junk: bool,
    /// When the conversation must be over.
    until: Instant,
    /// When the last answer came; refusals are padded from here.
    pub answered_at: Instant,
    /// What modules said, kept for a refusal.
    notices: Vec<String>,
    /// Messages not shown yet: one that comes just before a failure could tell why it failed.
    held: Vec<Notice>,
    messages: u32,
    /// Why the channel failed, if it did; PAM only sees "conversation error".
    failure: Option<ChannelError>,
}

impl Talk {
    /// A conversation with somebody behind `channel`; without one, questions fail and messages are only kept.
    pub fn with(channel: Option<Channel>, junk: bool, time: Duration) -> Self {
        let (answered_at, notices, held) = (Instant::now(), Vec::new(), Vec::new());
        let until = answered_at + time;
        Self { channel, junk, until, answered_at, notices, held, messages: 0, failure: None }
    }

    /// Whether the daemon is still there and has kept to the protocol.
    pub fn check(&mut self) -> Result<(), ChannelError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Shows what was held back; from now on nobody answers.
    pub fn end(&mut self) -> Result<(), ChannelError> {
        self.show_held()?;
        self.channel = None;
        Ok(())
    }

    fn show_held(&mut self) -> Result<(), ChannelError> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        self.held.drain(..).try_for_each(|notice| channel.send(&Reply::Notice(notice)))
    }

    fn tell(&mut self, text: &CStr, error: bool) {
        self.messages += 1;
        let text = readable(text);
        if text.trim().is_empty() || self.messages > MESSAGES_MAX {
            return;
        }
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(text.clone());
        }
        self.held.push(Notice { error, text });
    }

    fn ask(&mut self, text: &CStr, echo: bool) -> Result<CString, ErrorCode> {
        self.messages += 1;
        if self.messages > MESSAGES_MAX || self.failure.is_some() {
            return Err(ErrorCode::CONV_ERR);
        }
        let answer = self.exchange(Prompt { echo, text: readable(text) });
        let answer = answer.map_err(|error| self.failure = Some(error)).map_err(|()| ErrorCode::CONV_ERR)?;
        CString::new(answer).map_err(|_| ErrorCode::CONV_ERR)
    }

    fn exchange(&mut self, prompt: Prompt) -> Result<Vec<u8>, ChannelError> {
        self.show_held()?;
        let left = self.until.saturating_duration_since(Instant::now());
        let Some(channel) = &mut self.channel else { return Err(ChannelError::Closed) };
        channel.send(&Reply::Prompt(prompt))?;
        let request = channel.receive(State::Conversing, left)?;
        self.answered_at = Instant::now();
        let Request::Answer(answer) = request else { return Err(ChannelError::Closed) };
        // Of the same length, so that hashing it takes the same time.
        let junk = || JUNK.iter().copied().cycle().take(answer.text.len()).collect();
        Ok(if self.junk { junk() } else { answer.text.expose().as_bytes().to_vec() })
    }
}

/// Names and values, as PAM modules want them in the environment.
pub type Variables = Vec<(Vec<u8>, Vec<u8>)>;

/// The handler that libpam calls; the talk is shared with the code that holds the handle.
struct Handler(Rc<RefCell<Talk>>);

impl ConversationHandler for Handler {
    fn prompt_echo_on(&mut self, text: &CStr) -> Result<CString, ErrorCode> {
        self.0.borrow_mut().ask(text, true)
    }
    fn prompt_echo_off(&mut self, text: &CStr) -> Result<CString, ErrorCode> {
        self.0.borrow_mut().ask(text, false)
    }
    fn text_info(&mut self, text: &CStr) {
        self.0.borrow_mut().tell(text, false);
    }
    fn error_msg(&mut self, text: &CStr) {
        self.0.borrow_mut().tell(text, true);
    }
}

/// A PAM handle. Dropping it closes the session that it opened, then ends the transaction.
pub struct Pam {
    context: Context<Handler>,
    talk: Rc<RefCell<Talk>>,
    session: Option<SessionToken>,
}

impl Pam {
    /// Begins a transaction for `user` with the policy's `service`.
    ///
    /// # Errors
    /// A text for root. A missing service file is refused: PAM would silently use `other`.
    pub fn start(service: &str, user: &UserName, source: Option<&str>, talk: Talk) -> Result<Self, String> {
        let places = ["/etc/pam.d", "/usr/lib/pam.d"];
        if !places.iter().any(|place| Path::new(place).join(service).is_file()) {
            return Err(format!(
                "/etc/pam.d/{service} is missing; install it, or name another one as pam_service"
            ));
        }
        let talk = Rc::new(RefCell::new(talk));
        let mut context =
            Context::new(service, Some(user.as_str()), Handler(Rc::clone(&talk))).map_err(said)?;
        unix::no_fail_delay(&mut context).map_err(said)?;
        // pam-client 0.5 dereferences the null pointer that `None` would be.
        if source.is_some() {
            context.set_rhost(source).map_err(said)?;
        }
        context.set_tty(Some("hubd")).map_err(said)?;
        Ok(Self { context, talk, session: None })
    }

    /// The conversation so far.
    pub fn talk(&self) -> std::cell::RefMut<'_, Talk> {
        self.talk.borrow_mut()
    }

    /// Asks who it is. Empty passwords never count.
    pub fn authenticate(&mut self) -> Result<(), String> {
        self.context.authenticate(Flag::DISALLOW_NULL_AUTHTOK).map_err(said)
    }

    /// Asks whether the account is open; `true` when its password must be changed first.
    pub fn account(&mut self) -> Result<bool, String> {
        match self.context.acct_mgmt(Flag::DISALLOW_NULL_AUTHTOK) {
            Ok(()) => Ok(false),
            Err(error) if error.code() == ErrorCode::NEW_AUTHTOK_REQD => Ok(true),
            Err(error) => Err(said(error)),
        }
    }

    /// Has the person change an expired password.
    pub fn change_password(&mut self) -> Result<(), String> {
        self.context.chauthtok(Flag::CHANGE_EXPIRED_AUTHTOK).map_err(said)
    }

    /// Whether the transaction is still about `user`: modules may change PAM_USER.
    pub fn is_about(&self, user: &UserName) -> bool {
        self.context.user().is_ok_and(|name| same_name(&name, user.as_str()))
    }

    /// Sets credentials, opens the session, and gives the environment that modules want.
    pub fn open_session(&mut self) -> Result<Variables, String> {
        use std::os::unix::ffi::OsStrExt;
        let session = self.context.open_session(Flag::NONE).map_err(said)?;
        let list = session.envlist();
        let pairs = list.iter_tuples().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        // Only the token is kept: a Session borrows its Context, and the two live equally long.
        self.session = Some(session.leak());
        Ok(pairs)
    }

    /// What modules said, for a refusal.
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.talk.borrow_mut().notices)
    }
}

impl Drop for Pam {
    fn drop(&mut self) {
        if let Some(token) = self.session.take() {
            drop(self.context.unleak_session(token));
        }
    }
}

/// PAM's own words for an error.
fn said(error: pam_client::Error) -> String {
    error.to_string()
}

/// A module's text without control characters, bounded.
fn readable(text: &CStr) -> String {
    let text = text.to_string_lossy();
    let short = text.trim_end_matches('\n').char_indices().take_while(|(at, _)| *at < TEXT_BYTES_MAX);
    short.map(|(_, c)| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
