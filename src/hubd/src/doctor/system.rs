//! Sockets, ports, disk, kernel and clock.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::SystemTime;

use super::{Finding, Machine};
use crate::config::of_service;
use crate::config::plan::Plan;
use crate::control;
use crate::listen::{self, Place};

/// Less free space than this is worth a word, in bytes: a database grows, and SQLite needs room to write.
const FREE_BYTES_MIN: u64 = 200 * 1024 * 1024;

/// Whether hubd runs, and how it is.
pub fn running(plan: &Plan, found: &mut Vec<Finding>) -> bool {
    match control::ask(&plan.control_socket, "status") {
        Ok(answer) => {
            found.push(Finding::good(format!("hubd runs, process {}", answer["pid"])));
            true
        }
        Err(_) => {
            let cure = "systemctl enable --now hubd; journalctl -u hubd says why it ended";
            found.push(Finding::warning("hubd does not run, or is not yours to ask", cure));
            false
        }
    }
}

/// Whether the ports and sockets are free, for a hubd that does not run.
pub fn ports(plan: &Plan, found: &mut Vec<Finding>) {
    let places = [
        (Some(&plan.public), "--port"),
        (Some(&plan.inner), "--JupyterHub.hub_port"),
        (plan.routes_api.as_ref(), "--ConfigurableHTTPProxy.api_url"),
        (plan.redirect.as_ref().map(|(place, _)| place), "--JupyterHub.redirect_port"),
    ];
    for (place, option) in places {
        match place {
            Some(Place::Tcp(addresses)) => port(addresses, option, found),
            Some(Place::Unix(path, _)) => match listen::in_the_way(path) {
                None => found.push(Finding::good(format!("{} is free", path.display()))),
                Some((what, cure)) => found.push(Finding::bad(what, cure)),
            },
            None => {}
        }
    }
}

fn port(addresses: &[SocketAddr], option: &str, found: &mut Vec<Finding>) {
    let Some(address) = addresses.first() else { return };
    match TcpListener::bind(address) {
        Ok(_) => found.push(Finding::good(format!("port {} is free", address.port()))),
        Err(error) => {
            let text = listen::failure(address, &error, option);
            let (what, cure) = text.split_once("\n    cure: ").unwrap_or((&text, ""));
            found.push(Finding::bad(what, cure));
        }
    }
}

/// Whether the helper answers.
pub fn helper(plan: &Plan, found: &mut Vec<Finding>) {
    let path = plan.helper_socket.display();
    match UnixStream::connect(&plan.helper_socket) {
        Ok(_) => found.push(Finding::good("hubd-helper can be reached")),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let cure = "run hubd doctor as root, or as hubd";
            found.push(Finding::warning(format!("{path} is not yours to ask"), cure));
        }
        Err(error) => {
            let what = format!("nobody can log in or start a server: hubd-helper at {path}: {error}");
            found.push(Finding::bad(what, "systemctl enable --now hubd-helper.socket"));
        }
    }
}

/// Whether there is room for the database.
pub fn disk(plan: &Plan, found: &mut Vec<Finding>) {
    let database = of_service(&plan.database);
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(figures) = nix::sys::statvfs::statvfs(folder) else { return };
    let free = figures.blocks_available().saturating_mul(figures.fragment_size());
    let shown = format!("{} MB are free in {}", free / 1_048_576, folder.display());
    if free < FREE_BYTES_MIN {
        let cure = format!("make room: du -xh {} | sort -h | tail", folder.display());
        found.push(Finding::bad(format!("only {shown}"), cure));
    } else {
        found.push(Finding::good(shown));
    }
}

/// Whether SELinux keeps a front proxy from hubd.
pub fn selinux(plan: &Plan, machine: &Machine, found: &mut Vec<Finding>) {
    let enforcing = machine.text("/sys/fs/selinux/enforce").is_some_and(|text| text.trim() == "1");
    if !enforcing || plan.proxy.trusted_proxies.is_empty() {
        return;
    }
    let boolean = machine.text("/sys/fs/selinux/booleans/httpd_can_network_connect");
    if boolean.is_some_and(|text| text.starts_with('0')) {
        let what = "SELinux keeps nginx and Apache from connecting to hubd (502 and 503 in their logs)";
        found.push(Finding::bad(what, "setsebool -P httpd_can_network_connect on"));
    } else {
        found.push(Finding::good("SELinux lets front proxies connect"));
    }
}

/// Whether limits of memory and processor time can hold.
pub fn cgroups(machine: &Machine, found: &mut Vec<Finding>) {
    let Some(controllers) = machine.text("/sys/fs/cgroup/cgroup.controllers") else {
        let cure = "boot with systemd.unified_cgroup_hierarchy=1";
        return found
            .push(Finding::warning("there is no cgroup version 2: limits of servers do not hold", cure));
    };
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|wanted| !controllers.split_whitespace().any(|present| present == *wanted))
        .collect();
    if missing.is_empty() {
        found.push(Finding::good("cgroups have cpu, memory and pids"));
    } else {
        let cure = "boot with cgroup_enable=memory, or enable the controllers for this container";
        found.push(Finding::warning(format!("cgroup controllers are missing: {}", missing.join(", ")), cure));
    }
}

/// When this program was installed, as far as its file says.
pub fn installed() -> Option<SystemTime> {
    std::env::current_exe().and_then(std::fs::metadata).and_then(|metadata| metadata.modified()).ok()
}

/// Whether the clock is before the time at which this program was installed: certificates and cookies would not count.
pub fn clock(machine: &Machine, installed: Option<SystemTime>, found: &mut Vec<Finding>) {
    if installed.is_some_and(|installed| installed > machine.now) {
        let what = "the clock is wrong: it is before the time at which hubd was installed";
        return found.push(Finding::bad(what, "timedatectl set-ntp true"));
    }
    let state = |name: &str| machine.path(&format!("/run/systemd/timesync{name}")).exists();
    if state("") && !state("/synchronized") {
        let what = "the clock has not been set by the network since the start";
        found.push(Finding::warning(what, "timedatectl timesync-status"));
    } else {
        found.push(Finding::good("the clock is plausible"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Severity;
    use super::*;
    use crate::run::{self, Environment};

    /// A machine of these files, and what a plan of this configuration finds there.
    fn found(
        files: &[(&str, &str)],
        configuration: &str,
        look: impl Fn(&Plan, &Machine, &mut Vec<Finding>),
    ) -> Vec<(Severity, String)> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let path = root.path().join("hubd.toml");
        std::fs::write(&path, configuration).unwrap();
        let (_, plan) = run::configured(Some(&path), &[], &Environment::default()).ok().unwrap();
        let machine = Machine { root: root.path().to_owned(), now: SystemTime::now() };
        let mut found = Vec::new();
        look(&plan, &machine, &mut found);
        found
            .into_iter()
            .map(|finding| (finding.severity, format!("{}: {}", finding.what, finding.cure)))
            .collect()
    }

    #[test]
    fn selinux_matters_where_it_enforces_and_a_front_proxy_is_there() {
        let proxy = "[JupyterHub]\ntrusted_proxies = [\"127.0.0.1\"]\n";
        let enforce = ("sys/fs/selinux/enforce", "1");
        let boolean = |value| ("sys/fs/selinux/booleans/httpd_can_network_connect", value);
        let told = found(&[enforce, boolean("0 0")], proxy, selinux);
        assert!(
            told[0].0 == Severity::Bad && told[0].1.contains("setsebool -P httpd_can_network_connect on")
        );
        assert_eq!(found(&[enforce, boolean("1 1")], proxy, selinux)[0].0, Severity::Good);
        assert_eq!(found(&[enforce, boolean("0 0")], "", selinux), []);
        assert_eq!(found(&[("sys/fs/selinux/enforce", "0"), boolean("0 0")], proxy, selinux), []);
        assert_eq!(found(&[], proxy, selinux), []);
    }

    #[test]
    fn controllers_that_are_missing_are_named() {
        let told = |text: Option<&str>| {
            let files: Vec<(&str, &str)> =
                text.map(|text| ("sys/fs/cgroup/cgroup.controllers", text)).into_iter().collect();
            found(&files, "", |_, machine, found| cgroups(machine, found)).remove(0)
        };
        assert_eq!(told(Some("cpuset cpu io memory pids")).0, Severity::Good);
        let (severity, text) = told(Some("cpu pids\n"));
        assert!(severity == Severity::Warning && text.contains("missing: memory"), "{text}");
        assert!(told(None).1.contains("no cgroup version 2"));
    }

    #[test]
    fn a_clock_before_the_installation_is_wrong_and_one_that_nobody_set_is_told() {
        let clock_of = |files: &[(&str, &str)], ahead: u64| {
            let look = |_: &Plan, machine: &Machine, found: &mut Vec<Finding>| {
                let installed = machine.now - Duration::from_secs(10) + Duration::from_secs(ahead);
                clock(machine, Some(installed), found);
            };
            found(files, "", look).remove(0)
        };
        assert_eq!(clock_of(&[], 0).0, Severity::Good);
        assert!(clock_of(&[], 3600).1.contains("the clock is wrong"));
        let directory = ("run/systemd/timesync/x", "");
        assert!(clock_of(&[directory], 0).1.contains("has not been set"));
        assert_eq!(clock_of(&[directory, ("run/systemd/timesync/synchronized", "")], 0).0, Severity::Good);
    }

    #[test]
    fn ports_and_sockets_that_are_taken_are_named() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let text = format!(
            "[JupyterHub]\nbind_url = \"http://127.0.0.1:{port}\"\nhub_bind_url = \"unix:/dev/null\"\nhub_connect_url = \"http://h\"\n"
        );
        let told = found(&[], &text, |plan, _, found| ports(plan, found));
        assert!(told[0].0 == Severity::Bad && told[0].1.contains("(pid "), "{told:?}");
        assert!(told[1].0 == Severity::Bad && told[1].1.contains("/dev/null is there already"), "{told:?}");
        drop(held);
        let told = found(&[], &text, |plan, _, found| ports(plan, found));
        assert_eq!(told[0], (Severity::Good, format!("port {port} is free: ")));
    }
}
