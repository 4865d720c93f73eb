//! The proxies: how each is configured and started, and what it uses.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::backend::SMALL;
use crate::tls::CERTIFICATE;

/// How many routes each proxy has: `/user/u0/` and so on.
pub const ROUTES: usize = 10_000;
/// The token of the REST API of those that have one.
const TOKEN: &str = "bench";
/// How long a proxy may take until it answers.
const START: Duration = Duration::from_secs(30);

/// A running program and the port that is asked.
pub struct Instance {
    pub port: u16,
    process: u32,
}

/// A proxy under measurement.
pub struct Proxy {
    pub name: &'static str,
    pub plain: Instance,
    pub tls: Instance,
    pub http2: bool,
}

/// All of them. Dropping the value ends them.
pub struct Proxies {
    pub all: Vec<Proxy>,
    children: Vec<Child>,
    directory: tempfile::TempDir,
}

struct Plan {
    backend: SocketAddr,
    threads: usize,
    pem: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Proxies {
    /// Starts what is there; `HUBD`, `HUBD_ONE_SERVER`, `HUBD_BEFORE` and `CHP` name programs.
    pub fn start(backend: SocketAddr, threads: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan {
            backend,
            threads,
            pem: directory.path().join("both.pem"),
            certificate: directory.path().join("cert.pem"),
            key: directory.path().join("key.pem"),
        };
        make_certificate(&plan);
        let mut proxies = Self { all: Vec::new(), children: Vec::new(), directory };
        proxies.start_haproxy(&plan);
        proxies.start_nginx(&plan);
        proxies.start_hubd("hubd", "HUBD_ONE_SERVER", &plan);
        proxies.start_hubd("hubd before", "HUBD_BEFORE", &plan);
        proxies.start_command("hubd proxy", &plan, "HUBD", &["proxy"], true);
        proxies.start_command("configurable-http-proxy", &plan, "CHP", &[], false);
        proxies
    }

    fn spawn(&mut self, command: &mut Command) -> u32 {
        let log = self.directory.path().join(format!("{}.log", self.children.len()));
        let log = std::fs::File::create(log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let id = child.id();
        self.children.push(child);
        id
    }

    /// Waits until both ports answer.
    fn add(&mut self, name: &'static str, plain: Instance, tls: Instance, http2: bool) {
        wait_for(name, plain.port, Some("/user/u9999/api"));
        wait_for(name, tls.port, None);
        self.all.push(Proxy { name, plain, tls, http2 });
    }

    fn start_haproxy(&mut self, plan: &Plan) {
        let (port, tls) = (free_port(), free_port());
        let routes: String = (0..ROUTES).map(|number| format!("/user/u{number}/ server\n")).collect();
        let map = self.write("haproxy.map", &routes);
        let text = format!(
            "global\n nbthread {}\n maxconn 7000\n\
             defaults\n mode http\n timeout client 300s\n timeout server 300s\n timeout connect 5s\n\
             timeout tunnel 1h\n option forwardfor\n http-reuse always\n\
             frontend f\n bind 127.0.0.1:{port}\n bind 127.0.0.1:{tls} ssl crt {} alpn h2,http/1.1\n\
             use_backend %[path,map_beg({},none)]\n\
             backend server\n server s {}\n",
            plan.threads,
            plan.pem.display(),
            map.display(),
            plan.backend
        );
        let file = self.write("haproxy.cfg", &text);
        let process = self.spawn(Command::new("haproxy").arg("-db").arg("-f").arg(file));
        self.add("haproxy", Instance { port, process }, Instance { port: tls, process }, true);
    }

    fn start_nginx(&mut self, plan: &Plan) {
        let (port, tls) = (free_port(), free_port());
        let mut locations = String::new();
        for number in 0..ROUTES {
            writeln!(locations, "location ^~ /user/u{number}/ {{ proxy_pass http://server; }}").unwrap();
        }
        let place = self.directory.path().display().to_string();
        let text = format!(
            "daemon off; worker_processes {}; pid {place}/nginx.pid;\n\
             error_log {place}/nginx.log;\nevents {{ worker_connections 14000; }}\nhttp {{ access_log off;\n\
             keepalive_requests 1000000000; client_max_body_size 0; client_body_temp_path {place}/b;\n\
             proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u;\n\
             scgi_temp_path {place}/s; proxy_max_temp_file_size 0; proxy_request_buffering off;\n\
             proxy_http_version 1.1; proxy_read_timeout 1h; map $http_upgrade $how {{ default upgrade; '' ''; }}\n\
             proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade;\n\
             proxy_set_header Connection $how; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             upstream server {{ server {}; keepalive 128; keepalive_requests 1000000000; }}\n\
             ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;\n\
             server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl http2;\n{locations} }} }}\n",
            plan.threads,
            plan.backend,
            plan.certificate.display(),
            plan.key.display()
        );
        let file = self.write("nginx.conf", &text);
        let process = self.spawn(Command::new("nginx").arg("-c").arg(file));
        self.add("nginx", Instance { port, process }, Instance { port: tls, process }, true);
    }

    /// The proxy as it is inside hubd, with nothing around it: this one, or one of another build to compare it with.
    fn start_hubd(&mut self, name: &'static str, variable: &str, plan: &Plan) {
        let Ok(program) = std::env::var(variable) else { return };
        let mut start = |pem: Option<&Path>| {
            let port = free_port();
            let mut command = Command::new(&program);
            command.args([port.to_string(), plan.backend.to_string(), plan.threads.to_string()]).args(pem);
            Instance { port, process: self.spawn(&mut command) }
        };
        let (plain, tls) = (start(None), start(Some(&plan.pem)));
        self.add(name, plain, tls, true);
    }

    /// Something with the command line and the REST API of configurable-http-proxy.
    fn start_command(
        &mut self,
        name: &'static str,
        plan: &Plan,
        variable: &str,
        first: &[&str],
        http2: bool,
    ) {
        let Ok(program) = std::env::var(variable) else {
            return println!("{name} is left out: {variable} does not name its program");
        };
        let mut start = |tls: bool| {
            let (port, api) = (free_port(), free_port());
            let mut command = Command::new(&program);
            command
                .args(first)
                .args(["--ip", "127.0.0.1", "--port", &port.to_string(), "--api-ip", "127.0.0.1"])
                .args(["--api-port", &api.to_string(), "--log-level", "error"])
                .args(["--default-target", &format!("http://{}", plan.backend)])
                .env("CONFIGPROXY_AUTH_TOKEN", TOKEN)
                .env("TOKIO_WORKER_THREADS", plan.threads.to_string());
            if tls {
                command.arg("--ssl-key").arg(&plan.key).arg("--ssl-cert").arg(&plan.certificate);
            }
            (Instance { port, process: self.spawn(&mut command) }, api)
        };
        let ((plain, api), (tls, _)) = (start(false), start(true));
        wait_for(name, api, None);
        add_routes(api, plan.backend);
        self.add(name, plain, tls, http2);
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        for child in &mut self.children {
            // nginx ends its workers when it is asked to end, not when it is killed.
            let id = nix::unistd::Pid::from_raw(child.id().cast_signed());
            let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

impl Instance {
    /// Processor time of the program and its children so far, in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        // USER_HZ is 100 wherever Linux runs Rust (time(7)).
        const TICK_MICROS: f64 = 10_000.0;
        let ticks = |id: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            field(11) + field(12)
        };
        self.processes().iter().map(ticks).sum::<f64>() * TICK_MICROS
    }

    /// Memory of the program and its children, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let memory = |id: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:").map(str::to_owned));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        self.processes().iter().map(memory).sum()
    }

    fn processes(&self) -> Vec<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.process);
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        [self.process].into_iter().chain(children).collect()
    }
}

fn make_certificate(plan: &Plan) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    CERTIFICATE.set(made.cert.der().clone()).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    for (path, text) in
        [(&plan.certificate, &certificate), (&plan.key, &key), (&plan.pem, &format!("{certificate}{key}"))]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for(name: &str, port: u16, path: Option<&str>) {
    let end = Instant::now() + START;
    while !path
        .map_or_else(|| dial(port).is_some(), |path| answers(port, path).is_some_and(|body| body == SMALL))
    {
        assert!(Instant::now() < end, "{name} gives no good answer on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn dial(port: u16) -> Option<TcpStream> {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).ok()
}

fn answers(port: u16, path: &str) -> Option<Vec<u8>> {
    let mut stream = dial(port)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = crate::backend::find(&answer, b"\r\n\r\n")?;
    // Chunked or not, the text is in it as a whole.
    crate::backend::find(&answer[end..], SMALL).map(|_| SMALL.to_vec())
}

/// Adds all routes over the REST API.
fn add_routes(api: u16, backend: SocketAddr) {
    let mut stream = BufReader::new(dial(api).expect("the REST API listens"));
    let body = format!("{{\"target\": \"http://{backend}\"}}");
    for number in 0..ROUTES {
        let request = format!(
            "POST /api/routes/user/u{number} HTTP/1.1\r\nHost: api\r\nAuthorization: token {TOKEN}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut first, mut line, mut chunked) = (String::new(), String::new(), false);
        stream.read_line(&mut first).unwrap();
        assert!(first.contains(" 201 "), "route {number}: {first}");
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
            chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding");
        }
        if chunked {
            line.clear();
            stream.read_line(&mut line).unwrap();
            assert_eq!(line, "0\r\n");
            stream.read_line(&mut line).unwrap();
        }
    }
}
