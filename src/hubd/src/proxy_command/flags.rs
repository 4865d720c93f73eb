//! configurable-http-proxy's command line.

use std::path::PathBuf;

use clap::Parser;

/// The reverse proxy alone, for somebody else's JupyterHub.
#[derive(Debug, Parser)]
#[command(name = "hubd proxy", bin_name = "hubd proxy", version, max_term_width = 100)]
#[command(
    after_help = "The flags are those of configurable-http-proxy 5.3; see hubd-proxy(1) for what differs.\n\
    In JupyterHub: c.ConfigurableHTTPProxy.command = [\"hubd\", \"proxy\"]\n\n\
    Environment: CONFIGPROXY_AUTH_TOKEN is the token of the REST API.\n\n\
    Exit status: 2 after SIGTERM or SIGINT; 1 if the command line is wrong or the start fails."
)]
pub struct Flags {
    /// Public address; empty or * is all of them
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub ip: String,
    /// Public port [default: 8000]
    #[arg(long, conflicts_with = "socket")]
    pub port: Option<u16>,
    /// Public Unix socket, instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with = "ip")]
    pub socket: Option<PathBuf>,
    /// Key of the public side's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub ssl_key: Option<PathBuf>,
    /// Certificate and chain of the public side, PEM
    #[arg(long, value_name = "FILE")]
    pub ssl_cert: Option<PathBuf>,
    /// Authorities of browsers' certificates, PEM
    #[arg(long, value_name = "FILE")]
    pub ssl_ca: Option<PathBuf>,
    /// Ask browsers for certificates
    #[arg(long)]
    pub ssl_request_cert: bool,
    /// Refuse browsers without a good certificate
    #[arg(long)]
    pub ssl_reject_unauthorized: bool,
    /// Refused: TLS 1.2 and 1.3 are spoken, nothing older
    #[arg(long, value_name = "PROTOCOL")]
    pub ssl_protocol: Option<String>,
    /// Refused: there are no weak ciphers to leave out
    #[arg(long, value_name = "LIST")]
    pub ssl_ciphers: Option<String>,
    /// Refused: RC4 is broken
    #[arg(long)]
    pub ssl_allow_rc4: bool,
    /// Refused: no cipher here uses such parameters
    #[arg(long, value_name = "FILE")]
    pub ssl_dhparam: Option<PathBuf>,
    /// Address of the REST API
    #[arg(long, value_name = "ADDRESS", default_value = "localhost")]
    pub api_ip: String,
    /// Port of the REST API [default: the public port + 1]
    #[arg(long, value_name = "PORT", conflicts_with = "api_socket")]
    pub api_port: Option<u16>,
    /// Unix socket of the REST API, instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with = "api_ip")]
    pub api_socket: Option<PathBuf>,
    /// Key of the REST API's certificate
    #[arg(long, value_name = "FILE")]
    pub api_ssl_key: Option<PathBuf>,
    /// Certificate of the REST API
    #[arg(long, value_name = "FILE")]
    pub api_ssl_cert: Option<PathBuf>,
    /// Authorities of the certificates of who uses the REST API
    #[arg(long, value_name = "FILE")]
    pub api_ssl_ca: Option<PathBuf>,
    /// Ask who uses the REST API for a certificate
    #[arg(long)]
    pub api_ssl_request_cert: bool,
    /// Refuse who uses the REST API without a good certificate
    #[arg(long)]
    pub api_ssl_reject_unauthorized: bool,
    /// Key of the certificate shown to targets
    #[arg(long, value_name = "FILE")]
    pub client_ssl_key: Option<PathBuf>,
    /// Certificate shown to targets
    #[arg(long, value_name = "FILE")]
    pub client_ssl_cert: Option<PathBuf>,
    /// Authorities of targets' certificates
    #[arg(long, value_name = "FILE")]
    pub client_ssl_ca: Option<PathBuf>,
    /// Accepted: targets always have to show a certificate
    #[arg(long)]
    pub client_ssl_request_cert: bool,
    /// Accepted: targets with a bad certificate are always refused, but with --insecure
    #[arg(long)]
    pub client_ssl_reject_unauthorized: bool,
    /// Target of the route / at the start
    #[arg(long, value_name = "URL")]
    pub default_target: Option<String>,
    /// Server of error pages: asked for URL/CODE?url=…
    #[arg(long, value_name = "URL", conflicts_with = "error_path")]
    pub error_target: Option<String>,
    /// Directory of error pages: CODE.html, or error.html
    #[arg(long, value_name = "DIRECTORY")]
    pub error_path: Option<PathBuf>,
    /// Send plain HTTP on this port to HTTPS
    #[arg(long, value_name = "PORT")]
    pub redirect_port: Option<u16>,
    /// The HTTPS port to send it to [default: the public port]
    #[arg(long, value_name = "PORT")]
    pub redirect_to: Option<u16>,
    /// Write the process id there
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Do not add X-Forwarded headers
    #[arg(long)]
    pub no_x_forward: bool,
    /// Leave out the path of the target
    #[arg(long)]
    pub no_prepend_path: bool,
    /// Leave out the prefix of the route
    #[arg(long)]
    pub no_include_prefix: bool,
    /// Write host and port of the request into redirects of a target to itself
    #[arg(long)]
    pub auto_rewrite: bool,
    /// Give targets their own host in the Host header
    #[arg(long)]
    pub change_origin: bool,
    /// Write this scheme into redirects of a target to itself
    #[arg(long, value_name = "SCHEME")]
    pub protocol_rewrite: Option<String>,
    /// Header that every proxied request gets; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    pub custom_header: Vec<String>,
    /// Take any certificate of targets
    #[arg(long)]
    pub insecure: bool,
    /// The host is the first segment of a route
    #[arg(long)]
    pub host_routing: bool,
    /// Address of the metrics
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub metrics_ip: String,
    /// Port of the metrics; without it there are none
    #[arg(long, value_name = "PORT", conflicts_with = "metrics_socket")]
    pub metrics_port: Option<u16>,
    /// Unix socket of the metrics
    #[arg(long, value_name = "PATH", conflicts_with = "metrics_ip")]
    pub metrics_socket: Option<PathBuf>,
    /// debug, info, warn or error
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// The longest wait for an answer, in milliseconds
    #[arg(long, value_name = "MS")]
    pub timeout: Option<u64>,
    /// The longest wait for a target's answer, in milliseconds
    #[arg(long, value_name = "MS")]
    pub proxy_timeout: Option<u64>,
    /// Refused: routes are kept in memory
    #[arg(long, value_name = "MODULE")]
    pub storage_backend: Option<String>,
    /// How long a connection may wait for its next request, in milliseconds
    #[arg(long, value_name = "MS")]
    pub keep_alive_timeout: Option<u64>,
}

impl Flags {
    /// Reads the arguments, the command's name first.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments)
    }

    /// The flags that were given and cannot be obeyed, with the reason.
    pub fn refusals(&self) -> Vec<String> {
        let mut refusals = Vec::new();
        let mut refuse = |given: bool, flag: &str, reason: &str| {
            if given {
                refusals.push(format!("--{flag} cannot be used: {reason}"));
            }
        };
        refuse(
            self.ssl_protocol.is_some(),
            "ssl-protocol",
            "TLS 1.2 and 1.3 are spoken and nothing older, so there is nothing to narrow: leave it out",
        );
        refuse(
            self.ssl_ciphers.is_some(),
            "ssl-ciphers",
            "only suites with forward secrecy and authenticated encryption are there: leave it out",
        );
        refuse(self.ssl_allow_rc4, "ssl-allow-rc4", "RC4 is broken, and RFC 7465 forbids it: leave it out");
        refuse(
            self.ssl_dhparam.is_some(),
            "ssl-dhparam",
            "keys are exchanged over elliptic curves, which need no parameters: leave it out",
        );
        refuse(
            self.storage_backend.is_some(),
            "storage-backend",
            "it names a JavaScript module; routes are kept in memory, and JupyterHub adds them again",
        );
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every flag of configurable-http-proxy 5.3, and whether it has a value.
    const FLAGS: &[(&str, Option<&str>)] = &[
        ("ip", Some("127.0.0.1")),
        ("port", Some("1")),
        ("socket", Some("/s")),
        ("ssl-key", Some("f")),
        ("ssl-cert", Some("f")),
        ("ssl-ca", Some("f")),
        ("ssl-request-cert", None),
        ("ssl-reject-unauthorized", None),
        ("ssl-protocol", Some("TLSv1_2")),
        ("ssl-ciphers", Some("x")),
        ("ssl-allow-rc4", None),
        ("ssl-dhparam", Some("f")),
        ("api-ip", Some("")),
        ("api-port", Some("1")),
        ("api-socket", Some("/s")),
        ("api-ssl-key", Some("f")),
        ("api-ssl-cert", Some("f")),
        ("api-ssl-ca", Some("f")),
        ("api-ssl-request-cert", None),
        ("api-ssl-reject-unauthorized", None),
        ("client-ssl-key", Some("f")),
        ("client-ssl-cert", Some("f")),
        ("client-ssl-ca", Some("f")),
        ("client-ssl-request-cert", None),
        ("client-ssl-reject-unauthorized", None),
        ("default-target", Some("http://a")),
        ("error-target", Some("http://a")),
        ("error-path", Some("/d")),
        ("redirect-port", Some("1")),
        ("redirect-to", Some("1")),
        ("pid-file", Some("f")),
        ("no-x-forward", None),
        ("no-prepend-path", None),
        ("no-include-prefix", None),
        ("auto-rewrite", None),
        ("change-origin", None),
        ("protocol-rewrite", Some("https")),
        ("custom-header", Some("A: b")),
        ("insecure", None),
        ("host-routing", None),
        ("metrics-ip", Some("")),
        ("metrics-port", Some("1")),
        ("metrics-socket", Some("/s")),
        ("log-level", Some("debug")),
        ("timeout", Some("1")),
        ("proxy-timeout", Some("1")),
        ("storage-backend", Some("x")),
        ("keep-alive-timeout", Some("1")),
    ];

    fn read(arguments: &[&str]) -> Result<Flags, clap::Error> {
        Flags::read(std::iter::once("proxy").chain(arguments.iter().copied()).map(str::to_owned))
    }

    #[test]
    fn every_flag_of_the_original_is_obeyed_or_refused_by_name() {
        for (flag, value) in FLAGS {
            let written = format!("--{flag}");
            let arguments: Vec<&str> = [written.as_str()].into_iter().chain(*value).collect();
            let flags = read(&arguments).unwrap();
            let refused = ["ssl-protocol", "ssl-ciphers", "ssl-allow-rc4", "ssl-dhparam", "storage-backend"];
            let named = flags.refusals().iter().any(|text| text.starts_with(&format!("{written} ")));
            assert_eq!(named, refused.contains(flag), "{flag}");
            if let Some(value) = value {
                assert!(read(&[&format!("{written}={value}")]).is_ok(), "{flag}");
            }
        }
    }

    #[test]
    fn every_flag_stands_in_the_man_page() {
        let page = include_str!("../../../../man/hubd-proxy.1").replace("\\-", "-");
        for (flag, _) in FLAGS {
            assert!(page.contains(&format!("Fl -{flag}")), "{flag}");
        }
    }

    #[test]
    fn an_address_and_a_socket_exclude_each_other() {
        for conflict in [
            ["--socket=/s", "--port=1"],
            ["--socket=/s", "--ip=::1"],
            ["--api-socket=/s", "--api-port=1"],
            ["--metrics-socket=/s", "--metrics-port=1"],
            ["--error-target=http://a", "--error-path=/d"],
        ] {
            assert!(read(&conflict).is_err(), "{conflict:?}");
        }
        assert!(read(&["--prot=1"]).is_err());
    }
}
