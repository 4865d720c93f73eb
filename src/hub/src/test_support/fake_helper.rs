//! A helper that speaks the protocol but starts nothing: its servers are tasks that answer on a socket.

mod session;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use hubd_proto::message::{
    Account, Authenticate, Authenticated, Edge, Endpoint, Listen, Prompt, RefusalCode, SessionStatus, Start,
};
use hubd_proto::{ProfileName, Reply, Request, SessionId};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use session::{End, Session, control, exited, read, refuse, serve, write};

/// The ticket that every login gives.
pub(crate) const TICKET: &str = "dGlja2V0LW9mLXRoZS1mYWtlLWhlbHBlci0wMTIzNDU";
/// The password that every login takes.
pub(crate) const PASSWORD: &str = "correct horse";
/// The answer to the second question, if one is asked.
pub(crate) const CODE: &str = "123456";

/// What happens to a start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnStart {
    /// A server that answers at once.
    Serve,
    /// A server that listens but answers 503 for ever.
    Broken,
    /// A server that never listens.
    Mute,
    /// A server that exits before it listens.
    Exit(i32),
    /// The same, because there is no room. Whoever asks how much there is gets this line.
    Full(&'static str),
    /// A refusal.
    Refuse(RefusalCode),
    /// No answer at all until [`FakeHelper::release`].
    Hang,
    /// The connection is closed without an answer.
    HangUp,
}

/// What the helper does; tests change it at any time.
#[derive(Clone)]
pub(crate) struct Script {
    pub start: OnStart,
    pub login: Option<RefusalCode>,
    pub second_question: bool,
    /// Whether a PAM handle outlives its login.
    pub holds_logins: bool,
    /// When sessions say that they were started, in seconds before now.
    pub age_seconds: u64,
    /// How servers that do not ask who comes are reached.
    pub edge: Option<Edge>,
    /// Whether sessions claim to run as somebody else than they do.
    pub wrong_uid: bool,
}

struct Shared {
    run: PathBuf,
    uid: u32,
    script: Mutex<Script>,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    /// Names of the requests so far, in order.
    requests: Mutex<Vec<String>>,
    released: watch::Sender<bool>,
}

/// The fake helper; it and its servers end with the runtime.
#[derive(Clone)]
pub(crate) struct FakeHelper(Arc<Shared>);

impl FakeHelper {
    /// Listens in `run`, which is made.
    pub fn start(run: &Path) -> Self {
        for directory in ["sessions", "servers"] {
            std::fs::create_dir_all(run.join(directory)).expect("made");
        }
        let uid = std::fs::metadata(run).expect("there").uid();
        let script = Script {
            start: OnStart::Serve,
            login: None,
            second_question: false,
            holds_logins: true,
            age_seconds: 0,
            edge: None,
            wrong_uid: false,
        };
        let helper = Self(Arc::new(Shared {
            run: run.to_owned(),
            uid,
            script: Mutex::new(script),
            sessions: Mutex::default(),
            requests: Mutex::default(),
            released: watch::Sender::new(false),
        }));
        let listener = UnixListener::bind(helper.socket()).expect("bound");
        let accepting = helper.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let helper = accepting.clone();
                tokio::spawn(async move { helper.converse(stream).await });
            }
        });
        helper
    }

    pub fn socket(&self) -> PathBuf {
        self.0.run.join("helper.sock")
    }

    /// Changes what happens from now on.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.0.script.lock().expect("unpoisoned"));
    }

    /// Lets starts that hang go on.
    pub fn release(&self) {
        self.0.released.send_replace(true);
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.0.requests.lock().expect("unpoisoned").clone()
    }

    /// How many servers run.
    pub fn running(&self) -> usize {
        self.0.sessions.lock().expect("unpoisoned").len()
    }

    /// The environment of a user's only server.
    pub fn environment(&self, user: &str) -> HashMap<String, String> {
        self.session(user).expect("running").environment.clone()
    }

    /// The note of a user's only server.
    pub fn note_of(&self, user: &str) -> String {
        self.session(user).expect("running").status.note.clone()
    }

    /// Makes a session whose answers are no messages of the protocol.
    pub fn babble(&self) {
        let path = self.0.run.join("sessions").join("u4242-00000000000000ff.sock");
        let listener = UnixListener::bind(path).expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            }
        });
    }

    /// Ends a user's only server, as a signal or its own exit would.
    pub fn end(&self, user: &str, code: Option<i32>, signal: Option<i32>) {
        let session = self.session(user).expect("running");
        session.exit.send_replace(Some(End::Exited(exited(code, signal, false))));
    }

    /// Kills the process above a user's only server.
    pub fn kill(&self, user: &str) {
        self.session(user).expect("running").exit.send_replace(Some(End::Killed));
    }

    /// Cuts all control connections of a user's only server.
    pub fn cut(&self, user: &str) {
        self.session(user).expect("running").cut.send_replace(());
    }

    fn session(&self, user: &str) -> Option<Arc<Session>> {
        let sessions = self.0.sessions.lock().expect("unpoisoned");
        sessions.values().find(|session| session.status.user.as_str() == user).cloned()
    }

    fn note(&self, request: &str) -> Script {
        self.0.requests.lock().expect("unpoisoned").push(request.to_owned());
        self.0.script.lock().expect("unpoisoned").clone()
    }

    async fn converse(&self, mut stream: UnixStream) {
        match read(&mut stream).await {
            Some(Request::Authenticate(authenticate)) => self.authenticate(stream, authenticate).await,
            Some(Request::Start(start)) => self.begin(stream, *start, false).await,
            Some(Request::StartService(start)) => {
                self.note("start-service");
                let account = start.user.unwrap_or_else(|| "account".parse().expect("a name"));
                let start = Start {
                    user: account,
                    ticket: Some(TICKET.to_owned().into()),
                    server: start.service,
                    profile: Some(ProfileName::of_a_service()),
                    listen: Listen::Tcp(0),
                    arguments: start.command,
                    environment: start.environment,
                    note: start.note,
                };
                self.begin(stream, start, false).await;
            }
            Some(Request::CheckAccount(check)) => {
                let account = Account { user: check.user, uid: self.0.uid, ticket_expires_at: None };
                write(&mut stream, &Reply::Account(account)).await;
            }
            Some(Request::Revoke(_)) => {
                self.note("revoke");
                write(&mut stream, &Reply::Done).await;
            }
            _ => {}
        }
    }

    async fn authenticate(&self, mut stream: UnixStream, login: Authenticate) {
        let script = self.note("authenticate");
        let mut questions = vec![("Password: ", false, PASSWORD)];
        if script.second_question {
            questions.push(("Verification code: ", true, CODE));
        }
        for (text, echo, wanted) in questions {
            write(&mut stream, &Reply::Prompt(Prompt { echo, text: text.into() })).await;
            let Some(Request::Answer(answer)) = read(&mut stream).await else { return };
            let refusal =
                script.login.or((answer.text.expose() != wanted).then_some(RefusalCode::LoginRefused));
            if let Some(code) = refusal {
                return refuse(&mut stream, code).await;
            }
        }
        let yes = Authenticated {
            user: login.user,
            uid: self.0.uid,
            ticket: TICKET.to_owned().into(),
            ticket_expires_at: 4_000_000_000,
        };
        write(&mut stream, &Reply::Authenticated(yes)).await;
        if script.holds_logins
            && let Some(Request::Start(start)) = read(&mut stream).await
        {
            self.begin(stream, *start, true).await;
        }
    }

    async fn begin(&self, mut stream: UnixStream, start: Start, held: bool) {
        let script = self.note(if held { "start-held" } else { "start" });
        let known = start.ticket.as_ref().map(|ticket| ticket.expose() == TICKET);
        match known {
            None if !held => return refuse(&mut stream, RefusalCode::TicketMissing).await,
            Some(false) => return refuse(&mut stream, RefusalCode::TicketInvalid).await,
            _ => {}
        }
        match script.start {
            OnStart::Refuse(code) => return refuse(&mut stream, code).await,
            OnStart::HangUp => return,
            OnStart::Hang => {
                let mut released = self.0.released.subscribe();
                released.wait_for(|released| *released).await.expect("the helper lives");
            }
            _ => {}
        }
        match self.session_of(start, &script).await {
            Some(session) => {
                write(&mut stream, &Reply::Started(session.status.clone())).await;
                control(stream, session).await;
            }
            None => refuse(&mut stream, RefusalCode::AlreadyRunning).await,
        }
    }

    async fn session_of(&self, start: Start, script: &Script) -> Option<Arc<Session>> {
        let mut hasher = DefaultHasher::new();
        (start.user.as_str(), start.server.as_str()).hash(&mut hasher);
        let id = SessionId::from_parts(self.0.uid, hasher.finish().to_be_bytes());
        let directory = self.0.run.join("servers").join(id.as_str());
        let endpoint = match start.listen {
            _ if start.profile == Some(ProfileName::of_a_service()) => Endpoint::Service,
            Listen::Unix => Endpoint::Unix(directory.join("s").to_str().expect("text").to_owned()),
            Listen::Tcp(port) => Endpoint::Tcp(port),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let status = SessionStatus {
            session: id.clone(),
            user: start.user,
            uid: self.0.uid + u32::from(script.wrong_uid),
            server: start.server,
            profile: start.profile.unwrap_or_else(ProfileName::default_profile),
            pid: 4567,
            started_at: now - script.age_seconds,
            endpoint,
            note: start.note,
            edge: script.edge,
            stopping: false,
            memory_bytes: Some(300 << 20),
            memory_limit_bytes: Some(1 << 30),
            cpu_microseconds: None,
        };
        let environment =
            start.environment.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let session = Arc::new(Session {
            status,
            environment,
            how: script.start,
            exit: watch::Sender::new(None),
            cut: watch::Sender::new(()),
        });
        {
            let mut sessions = self.0.sessions.lock().expect("unpoisoned");
            if sessions.contains_key(&id) {
                return None;
            }
            sessions.insert(id.clone(), Arc::clone(&session));
        }
        std::fs::create_dir_all(&directory).expect("made");
        let path = self.0.run.join("sessions").join(format!("{id}.sock"));
        let listener = UnixListener::bind(&path).expect("bound");
        tokio::spawn(self.clone().live(Arc::clone(&session), listener, path, directory));
        Some(session)
    }

    /// The life of one session: control connections, the server, its end.
    async fn live(self, session: Arc<Session>, listener: UnixListener, path: PathBuf, directory: PathBuf) {
        let server = tokio::spawn(serve(session.status.endpoint.clone(), session.how));
        match session.how {
            OnStart::Exit(code) => {
                session.exit.send_replace(Some(End::Exited(exited(Some(code), None, false))));
            }
            OnStart::Full(line) => {
                let mut exited = exited(Some(1), None, false);
                let is_asked = session.status.profile.as_str() == "room";
                exited.log.push(if is_asked { line } else { "OSError: No space left on device" }.to_owned());
                session.exit.send_replace(Some(End::Exited(exited)));
            }
            _ => {}
        }
        let mut exit = session.exit.subscribe();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("accepted");
                    tokio::spawn(control(stream, Arc::clone(&session)));
                }
                _ = exit.wait_for(Option::is_some) => break,
            }
        }
        server.abort();
        let _ = std::fs::remove_file(path);
        let _ = std::fs::remove_dir_all(directory);
        self.0.sessions.lock().expect("unpoisoned").remove(&session.status.session);
    }
}
