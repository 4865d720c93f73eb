//! PAM behind one door: the conversation as frames, and a handle that lives from login to logout.
//!
//! Nothing outside this file knows `pam-client`, so that it can be exchanged. libpam calls [`Talk`] from
//! C through pam-client's `extern "C"` function, which ends the process on a panic instead of unwinding.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hubd_proto::message::{Notice, Prompt};
use hubd_proto::{Reply, Request, UserName};
use pam_client::{Context, ConversationHandler, ErrorCode, Flag, SessionToken};
use zeroize::Zeroizing;

use crate::channel::{Channel, ChannelError};
use crate::dispatch::{self, State};
use crate::unix;

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
    pub junk: bool,
    /// When the conversation must be over.
    until: Instant,
    /// When the last answer came; refusals are padded from here.
    pub answered_at: Instant,
    /// What modules said, kept for a refusal.
    pub notices: Vec<String>,
    /// Messages not shown yet: one that comes just before a failure could tell why it failed.
    held: Vec<Notice>,
    messages: u32,
    /// Why the channel failed, if it did; PAM only sees "conversation error".
    pub failure: Option<ChannelError>,
}

impl Talk {
    /// A conversation with somebody behind `channel`.
    pub fn with(channel: Channel, junk: bool, time: Duration) -> Self {
        let mut talk = Self::with_nobody();
        (talk.channel, talk.junk, talk.until) = (Some(channel), junk, talk.answered_at + time);
        talk
    }

    /// A conversation in which questions fail and messages are only kept.
    pub fn with_nobody() -> Self {
        let now = Instant::now();
        let (notices, held) = (Vec::new(), Vec::new());
        Self {
            channel: None,
            junk: false,
            until: now,
            answered_at: now,
            notices,
            held,
            messages: 0,
            failure: None,
        }
    }

    /// Shows what was held back; from now on nobody answers.
    pub fn end(&mut self) {
        let sent = self.show_held();
        self.failure = sent.err();
        self.channel = None;
    }

    fn show_held(&mut self) -> Result<(), ChannelError> {
        for notice in self.held.drain(..) {
            if let Some(channel) = &mut self.channel {
                channel.send(&Reply::Notice(notice))?;
            }
        }
        Ok(())
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
        if self.channel.is_some() {
            self.held.push(Notice { error, text });
        }
    }

    fn ask(&mut self, text: &CStr, echo: bool) -> Result<CString, ErrorCode> {
        self.messages += 1;
        if self.messages > MESSAGES_MAX || self.failure.is_some() || self.channel.is_none() {
            return Err(ErrorCode::CONV_ERR);
        }
        match self.exchange(Prompt { echo, text: readable(text) }) {
            Ok(answer) => CString::new(answer.to_vec()).map_err(|_| ErrorCode::CONV_ERR),
            Err(error) => {
                self.failure = Some(error);
                Err(ErrorCode::CONV_ERR)
            }
        }
    }

    fn exchange(&mut self, prompt: Prompt) -> Result<Zeroizing<Vec<u8>>, ChannelError> {
        self.show_held()?;
        let left = self.until.saturating_duration_since(Instant::now());
        let Some(channel) = &mut self.channel else { return Err(ChannelError::Closed) };
        channel.send(&Reply::Prompt(prompt))?;
        let request = channel.receive(left)?;
        dispatch::check(State::Conversing, &request)?;
        self.answered_at = Instant::now();
        match request {
            Request::Answer(answer) if self.junk => {
                // Of the same length, so that hashing it takes the same time.
                Ok(Zeroizing::new(JUNK.iter().copied().cycle().take(answer.text.len()).collect()))
            }
            Request::Answer(answer) => Ok(Zeroizing::new(answer.text.expose().as_bytes().to_vec())),
            _ => Err(ChannelError::Closed),
        }
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
    fn radio_prompt(&mut self, text: &CStr) -> Result<bool, ErrorCode> {
        let answer = self.0.borrow_mut().ask(text, true)?;
        Ok(answer.as_bytes().first().is_some_and(|byte| byte.eq_ignore_ascii_case(&b'y')))
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
        let start = || {
            let mut context = Context::new(service, Some(user.as_str()), Handler(Rc::clone(&talk)))?;
            unix::no_fail_delay(&mut context)?;
            // pam-client 0.5 dereferences the null pointer that `None` would be.
            if source.is_some() {
                context.set_rhost(source)?;
            }
            context.set_tty(Some("hubd"))?;
            Ok::<_, pam_client::Error>(context)
        };
        let context = start().map_err(|error| format!("PAM did not start: {error}"))?;
        Ok(Self { context, talk, session: None })
    }

    /// The conversation so far.
    pub fn talk(&self) -> std::cell::RefMut<'_, Talk> {
        self.talk.borrow_mut()
    }

    /// Asks who it is. Empty passwords never count.
    pub fn authenticate(&mut self) -> Result<(), String> {
        self.context.authenticate(Flag::DISALLOW_NULL_AUTHTOK).map_err(|error| error.to_string())
    }

    /// Asks whether the account is open; `true` when its password must be changed first.
    pub fn account(&mut self) -> Result<bool, String> {
        match self.context.acct_mgmt(Flag::DISALLOW_NULL_AUTHTOK) {
            Ok(()) => Ok(false),
            Err(error) if error.code() == ErrorCode::NEW_AUTHTOK_REQD => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Has the person change an expired password.
    pub fn change_password(&mut self) -> Result<(), String> {
        self.context.chauthtok(Flag::CHANGE_EXPIRED_AUTHTOK).map_err(|error| error.to_string())
    }

    /// Whether the transaction is still about `user`: modules may change PAM_USER.
    pub fn is_about(&self, user: &UserName) -> bool {
        self.context.user().is_ok_and(|name| name == user.as_str())
    }

    /// Sets credentials, opens the session, and gives the environment that modules want.
    pub fn open_session(&mut self) -> Result<Variables, String> {
        use std::os::unix::ffi::OsStrExt;
        let session = self.context.open_session(Flag::NONE).map_err(|error| error.to_string())?;
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

/// A module's text without control characters, bounded.
fn readable(text: &CStr) -> String {
    let text = text.to_string_lossy();
    let mut shown = String::new();
    for c in text.trim_end_matches('\n').chars() {
        if shown.len() + c.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        shown.push(if c.is_control() && c != '\n' { ' ' } else { c });
    }
    shown
}
