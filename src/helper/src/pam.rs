//! PAM behind one door: the conversation as frames, and a handle that lives from login to logout.
//!
//! Nothing outside this file knows `pam-client`, so that it can be exchanged. libpam calls [`Handler`] from
//! C through pam-client's `extern "C"` function, which ends the process on a panic instead of unwinding.

use std::cell::{RefCell, RefMut};
use std::ffi::{CStr, CString, OsStr};
use std::time::{Duration, Instant};
use std::{os::unix::ffi::OsStrExt, path::Path, rc::Rc};

use hubd_policy::conversation::{self, Person};
use hubd_policy::state::{ChannelError, State};
use hubd_policy::{OrRefuse, Refusal, account::same_name, environment::Variables};
use hubd_proto::message::{Notice, Prompt};
use hubd_proto::{Reply, Request, Secret, UserName};
use pam_client::{Context, ConversationHandler, ErrorCode, Flag, SessionToken};

use crate::{channel::Channel, unix};

/// The conversation with somebody behind the daemon.
pub type Talk = conversation::Talk<Browser>;

/// Somebody in a browser, whom the daemon shows prompts.
pub struct Browser {
    channel: Channel,
    /// When the conversation must be over.
    until: Instant,
    /// When the last answer came; refusals are padded from here.
    pub answered_at: Instant,
}

impl Browser {
    /// Behind `channel`, for at most `time`.
    pub fn new(channel: &Channel, time: Duration) -> Result<Self, ChannelError> {
        let (channel, answered_at) = (channel.duplicate()?, Instant::now());
        Ok(Self { channel, until: answered_at + time, answered_at })
    }
}

impl Person for Browser {
    type Error = ChannelError;

    fn show(&mut self, notice: Notice) -> Result<(), ChannelError> {
        self.channel.send(&Reply::Notice(notice))
    }

    fn ask(&mut self, prompt: Prompt) -> Result<Secret, ChannelError> {
        self.channel.send(&Reply::Prompt(prompt))?;
        let left = self.until.saturating_duration_since(Instant::now());
        let request = self.channel.receive(State::Conversing, left)?;
        self.answered_at = Instant::now();
        if let Request::Answer(answer) = request { Ok(answer.text) } else { Err(ChannelError::Closed) }
    }
}

/// The handler that libpam calls; the talk is shared with the code that holds the handle.
struct Handler(Rc<RefCell<Talk>>);

impl Handler {
    fn ask(&self, text: &CStr, echo: bool) -> Result<CString, ErrorCode> {
        let answer = self.0.borrow_mut().ask(&text.to_string_lossy(), echo);
        CString::new(answer.ok_or(ErrorCode::CONV_ERR)?.as_slice()).map_err(|_| ErrorCode::CONV_ERR)
    }
}

impl ConversationHandler for Handler {
    fn prompt_echo_on(&mut self, text: &CStr) -> Result<CString, ErrorCode> {
        self.ask(text, true)
    }
    fn prompt_echo_off(&mut self, text: &CStr) -> Result<CString, ErrorCode> {
        self.ask(text, false)
    }
    fn text_info(&mut self, text: &CStr) {
        self.0.borrow_mut().tell(&text.to_string_lossy(), false);
    }
    fn error_msg(&mut self, text: &CStr) {
        self.0.borrow_mut().tell(&text.to_string_lossy(), true);
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
    pub fn start(service: &str, user: &UserName, source: Option<&str>, talk: Talk) -> Result<Self, Refusal> {
        let there = |place: &&str| Path::new(place).join(service).is_file();
        if !["/etc/pam.d", "/usr/lib/pam.d"].iter().any(there) {
            return Err(Refusal::no_pam_service(service));
        }
        let talk = Rc::new(RefCell::new(talk));
        let begin = || -> pam_client::Result<_> {
            let mut context = Context::new(service, Some(user.as_str()), Handler(Rc::clone(&talk)))?;
            unix::no_fail_delay(&mut context)?;
            // pam-client 0.5 dereferences the null pointer that `None` would be.
            source.map_or(Ok(()), |_| context.set_rhost(source))?;
            context.set_tty(Some("hubd"))?;
            Ok(context)
        };
        let context = begin().or_refuse("PAM")?;
        Ok(Self { context, talk, session: None })
    }

    /// The conversation so far.
    pub fn talk(&self) -> RefMut<'_, Talk> {
        self.talk.borrow_mut()
    }

    /// Asks who it is. Empty passwords never count.
    pub fn authenticate(&mut self) -> Result<(), String> {
        self.context.authenticate(Flag::DISALLOW_NULL_AUTHTOK).map_err(said)
    }

    /// Asks whether the account is open; `true` when its password must be changed first.
    pub fn account(&mut self) -> Result<bool, String> {
        match self.context.acct_mgmt(Flag::DISALLOW_NULL_AUTHTOK) {
            Err(error) if error.code() == ErrorCode::NEW_AUTHTOK_REQD => Ok(true),
            open => open.map(|()| false).map_err(said),
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
    pub fn open_session(&mut self) -> Result<Variables, Refusal> {
        let refused = |why| Refusal::no_session(why).with_notices(self.talk.borrow_mut().take_notices());
        let session = self.context.open_session(Flag::NONE).map_err(refused)?;
        let list = session.envlist();
        let bytes = |text: &OsStr| text.as_bytes().to_vec();
        let variables = list.iter_tuples().map(|(name, value)| (bytes(name), bytes(value))).collect();
        // Only the token is kept: a Session borrows its Context, and the two live equally long.
        self.session = Some(session.leak());
        Ok(variables)
    }
}

impl Drop for Pam {
    fn drop(&mut self) {
        drop(self.session.take().map(|token| self.context.unleak_session(token)));
    }
}

/// PAM's own words for an error.
fn said(error: pam_client::Error) -> String {
    error.to_string()
}
