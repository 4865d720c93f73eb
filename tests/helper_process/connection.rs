//! The daemon's side of the helper's protocol.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use hubd_proto::message::{Answer, Authenticate, Exited, Listen, RefusalCode, Refused, SessionStatus, Start};
use hubd_proto::{Reply, Request, Secret, ServerName, UserName, frame};

use super::PATIENCE;

/// The daemon's side of one connection.
pub struct Connection(pub UnixStream);

impl Connection {
    /// Connects.
    pub fn open(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| path.display().to_string())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        Ok(frame::write(&mut self.0, request)?)
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes)?)
    }

    /// The next reply.
    pub fn receive(&mut self) -> Result<Reply> {
        Ok(frame::decode(&frame::read_body(&mut self.0)?)?)
    }

    /// Sends a request and takes the next reply.
    pub fn ask(&mut self, request: &Request) -> Result<Reply> {
        self.send(request)?;
        self.receive()
    }

    /// Answers prompts in their order; gives the outcome, and prompts and notices as they came.
    pub fn authenticate(
        &mut self,
        user: &str,
        source: Option<IpAddr>,
        answers: &[&str],
    ) -> Result<(Reply, Vec<String>)> {
        let mut reply =
            self.ask(&Request::Authenticate(Authenticate { user: UserName::new(user)?, source }))?;
        let (mut said, mut answers) = (Vec::new(), answers.iter());
        loop {
            match reply {
                Reply::Prompt(prompt) => {
                    said.push(prompt.text);
                    let text = (*answers.next().context("more prompts than answers")?).to_owned();
                    self.send(&Request::Answer(Answer { text: text.into() }))?;
                }
                Reply::Notice(notice) => said.push(notice.text),
                other => return Ok((other, said)),
            }
            reply = self.receive()?;
        }
    }

    /// Starts a server, which must succeed.
    pub fn start(&mut self, start: Start) -> Result<SessionStatus> {
        match self.ask(&Request::Start(Box::new(start)))? {
            Reply::Started(status) => Ok(status),
            other => bail!("not started: {}", shown(&other)),
        }
    }

    /// Sends a request that must be refused with this code.
    pub fn refused(&mut self, request: &Request, code: RefusalCode) -> Result<Refused> {
        match self.ask(request)? {
            Reply::Refused(refused) if refused.code == code => Ok(refused),
            other => bail!("expected {}, got {}", code.as_str(), shown(&other)),
        }
    }

    /// Waits for the server's end.
    pub fn exited(&mut self) -> Result<Exited> {
        loop {
            if let Reply::Exited(exited) = self.receive()? {
                return Ok(exited);
            }
        }
    }

    /// Asks for the end of the server and waits for it.
    pub fn stop(&mut self) -> Result<Exited> {
        self.send(&Request::Stop)?;
        self.exited()
    }
}

/// A start of `user`'s default server.
pub fn start_of(user: &str, ticket: Option<&Secret>) -> Result<Start> {
    Ok(Start {
        user: UserName::new(user)?,
        ticket: ticket.cloned(),
        server: ServerName::default(),
        profile: None,
        listen: Listen::Unix,
        arguments: Vec::new(),
        environment: std::collections::BTreeMap::new(),
        note: r#"{"of":"a test"}"#.into(),
    })
}

/// A reply for an error message, without what is secret in it.
pub fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Refused(refused) => format!("refused, {}: {}", refused.code.as_str(), refused.message),
        Reply::Prompt(prompt) => format!("prompt: {}", prompt.text),
        Reply::Notice(notice) => format!("notice: {}", notice.text),
        Reply::Exited(exited) => format!("{exited:?}"),
        Reply::Status(status) | Reply::Started(status) => format!("{status:?}"),
        Reply::Log(lines) => lines.join("\n"),
        Reply::Authenticated(_) => "authenticated".into(),
        Reply::Account(account) => format!("{account:?}"),
        Reply::Done => "done".into(),
    }
}
