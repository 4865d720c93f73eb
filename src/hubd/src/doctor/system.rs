//! Sockets, ports, disk, kernel and clock.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::SystemTime;

use super::Finding;
use super::files::of_service;
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
pub fn selinux(plan: &Plan, found: &mut Vec<Finding>) {
    let booleans = Path::new("/sys/fs/selinux/booleans");
    let enforcing = std::fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1");
    if !enforcing || plan.proxy.trusted_proxies.is_empty() {
        return;
    }
    let boolean = std::fs::read_to_string(booleans.join("httpd_can_network_connect"));
    if boolean.is_ok_and(|text| text.starts_with('0')) {
        let what = "SELinux keeps nginx and Apache from connecting to hubd (502 and 503 in their logs)";
        found.push(Finding::bad(what, "setsebool -P httpd_can_network_connect on"));
    }
}

/// Whether limits of memory and processor time can hold.
pub fn cgroups(found: &mut Vec<Finding>) {
    let Ok(controllers) = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") else {
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

/// Whether the clock is before the time at which this program was installed: certificates and cookies would not count.
pub fn clock(found: &mut Vec<Finding>) {
    let installed =
        std::env::current_exe().and_then(std::fs::metadata).and_then(|metadata| metadata.modified());
    if installed.is_ok_and(|installed| installed > SystemTime::now()) {
        let what = "the clock is wrong: it is before the time at which hubd was installed";
        return found.push(Finding::bad(what, "timedatectl set-ntp true"));
    }
    let unsynchronised = Path::new("/run/systemd/timesync").exists()
        && !Path::new("/run/systemd/timesync/synchronized").exists();
    if unsynchronised {
        let what = "the clock has not been set by the network since the start";
        found.push(Finding::warning(what, "timedatectl timesync-status"));
    } else {
        found.push(Finding::good("the clock is plausible"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_looked_at() {
        let mut found = Vec::new();
        cgroups(&mut found);
        clock(&mut found);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|finding| !finding.what.is_empty()));
    }
}
