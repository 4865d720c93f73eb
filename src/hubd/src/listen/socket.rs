//! Unix sockets: their files, their modes, and what dead programs left behind.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A socket's file, removed when it is dropped.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Listens at a path; a socket that nobody listens at any more is replaced. `option` is what sets the path, for the
/// error.
pub fn open(path: &Path, mode: Option<u32>, option: &str) -> anyhow::Result<(UnixListener, SocketFile)> {
    if let Some((what, cure)) = in_the_way(path) {
        bail!("{what}\n    cure: {cure}, or choose another path with {option}");
    }
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        std::fs::remove_file(path)
            .with_context(|| format!("cannot remove the old socket {}", path.display()))?;
    }
    // Without a mode it is decided by the umask, as with every program that is started by another.
    let listener = UnixListener::bind(path).with_context(|| {
        format!(
            "{option}: cannot listen on {}\n    cure: let the daemon's user write in the folder, or let systemd open it \
             (hubd.socket, see hubd(8))",
            path.display()
        )
    })?;
    let file = SocketFile(path.to_owned());
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    }
    Ok((listener, file))
}

/// What keeps a socket from being made at a path, and the cure.
pub fn in_the_way(path: &Path) -> Option<(String, String)> {
    let shown = path.display();
    let file = std::fs::symlink_metadata(path).ok()?;
    if !file.file_type().is_socket() {
        return Some((format!("{shown} is there already, and no socket"), format!("remove it: rm {shown}")));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
        _ => Some((
            format!("another program listens on {shown} already"),
            format!("end it (`ss -lxp | grep {shown}` as root shows the process)"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_removed_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let opened = open(&path, Some(0o660), "--url").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let refused = open(&path, None, "--url").err().unwrap().to_string();
        assert!(refused.contains("another program listens") && refused.contains("--url"), "{refused}");
        drop(opened);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_somebody_s_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        let refused = open(&path, None, "--url").err().unwrap().to_string();
        assert!(refused.contains("no socket"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert!(open(Path::new("/nonexistent/s"), None, "--url").is_err());
    }
}
