//! Starting a server and staying with it: the control connection.

use std::path::Path;
use std::time::Duration;

use hubd_proto::message::{Exited, SessionStatus, Start, StartService};
use hubd_proto::{Reply, Request};

use super::connection::Connection;
use super::{HeldLogin, HelperClient, HelperError};

/// A connection to the process above one running server.
pub(crate) struct Control {
    connection: Connection,
}

/// What the process above a server says.
pub(crate) enum Event {
    /// The server has ended; nothing comes after it.
    Exited(Exited),
    /// The last lines of output, as asked.
    Log(Vec<String>),
    /// The answer to a request that has nothing to say.
    Done,
}

/// A start that did not happen.
pub(crate) enum StartError {
    /// The held login had gone before the helper saw the request: it can be sent again with a ticket.
    HeldLoginGone,
    /// Everything else.
    Failed(HelperError),
}

impl HelperClient {
    /// Starts a server on a connection of its own, with the request's ticket or a standing grant.
    pub(crate) async fn start(
        &self,
        start: Box<Start>,
        limit: Duration,
    ) -> Result<(SessionStatus, Control), HelperError> {
        let mut connection = Connection::open(&self.socket, self.timeout).await?;
        connection.send(&Request::Start(start)).await?;
        started(connection, limit).await
    }

    /// Starts a server from the PAM handle that saw the password. The user's name becomes the one
    /// that logged in, and the ticket is not needed.
    pub(crate) async fn start_held(
        &self,
        held: HeldLogin,
        mut start: Start,
        limit: Duration,
    ) -> Result<(SessionStatus, Control), StartError> {
        start.user = held.account;
        start.ticket = None;
        let mut connection = held.connection;
        connection.send(&Request::Start(Box::new(start))).await.map_err(StartError::Failed)?;
        started(connection, limit).await.map_err(|error| match error {
            error if error.is_closed() => StartError::HeldLoginGone,
            error => StartError::Failed(error),
        })
    }

    /// Starts a service that root's policy names.
    pub(crate) async fn start_service(
        &self,
        start: StartService,
        limit: Duration,
    ) -> Result<(SessionStatus, Control), HelperError> {
        let mut connection = Connection::open(&self.socket, self.timeout).await?;
        connection.send(&Request::StartService(start)).await?;
        started(connection, limit).await
    }

    /// The directory of control sockets.
    pub(crate) fn sessions(&self) -> std::path::PathBuf {
        self.socket.parent().unwrap_or(Path::new("/")).join("sessions")
    }

    /// Connects to the control socket of a running session and asks what it is.
    pub(crate) async fn session(&self, socket: &Path) -> Result<(SessionStatus, Control), HelperError> {
        let mut connection = Connection::open(socket, self.timeout).await?;
        connection.send(&Request::Status).await?;
        match connection.receive_within(self.timeout).await? {
            Reply::Status(status) => Ok((status, Control { connection })),
            _ => Err(HelperError::Unexpected("status")),
        }
    }
}

async fn started(
    mut connection: Connection,
    limit: Duration,
) -> Result<(SessionStatus, Control), HelperError> {
    loop {
        match connection.receive_within(limit).await? {
            Reply::Started(status) => return Ok((status, Control { connection })),
            // PAM modules greet when a session opens; the server's own page is no place for it.
            Reply::Notice(_) => {}
            _ => return Err(HelperError::Unexpected("start")),
        }
    }
}

impl Control {
    /// Asks for the end of the server; [`Event::Exited`] follows when it has ended.
    pub(crate) async fn stop(&mut self) -> Result<(), HelperError> {
        self.connection.send(&Request::Stop).await
    }

    /// Asks for the last lines of output; [`Event::Log`] brings them.
    pub(crate) async fn log(&mut self) -> Result<(), HelperError> {
        self.connection.send(&Request::Log).await
    }

    /// Waits for what comes next. Cancelling loses nothing.
    pub(crate) async fn event(&mut self) -> Result<Event, HelperError> {
        match self.connection.receive().await? {
            Reply::Exited(exited) => Ok(Event::Exited(exited)),
            Reply::Log(lines) => Ok(Event::Log(lines)),
            Reply::Done | Reply::Status(_) => Ok(Event::Done),
            _ => Err(HelperError::Unexpected("control")),
        }
    }
}
