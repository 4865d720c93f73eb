//! What the daemon's account may read: whoever sets hubd up is root, and would not notice.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::config::Values;
use crate::config::plan::{Plan, TlsPlan};

/// The account of the service.
const DAEMON: &str = "hubd";
/// Permission bits, shifted to the class that they are for: reading a file, entering a directory.
const READ: u32 = 0o4;
const ENTER: u32 = 0o1;

/// Whether the daemon's account can read certificates, keys and the configuration; for root alone to say.
pub fn readable(plan: &Plan, values: &Values, found: &mut Vec<Finding>) {
    let user = users::get_user_by_name(DAEMON).filter(|_| nix::unistd::geteuid().is_root());
    let Some(user) = user else { return };
    let groups = users::get_user_groups(DAEMON, user.primary_group_id()).unwrap_or_default();
    let groups: Vec<u32> = groups.iter().map(users::Group::gid).collect();
    let mut files: Vec<PathBuf> = values.files.clone();
    if let TlsPlan::Files(pairs) = &plan.tls {
        files.extend(pairs.iter().flat_map(|pair| [pair.certificate.clone(), pair.key.clone()]));
    }
    for file in files {
        let Some(hindrance) = hindrance(&file, user.uid(), &groups) else { continue };
        let (shown, at) = (file.display(), hindrance.display());
        if hindrance.is_dir() {
            let what = format!("{DAEMON} cannot read {shown}: it may not enter {at}");
            found.push(Finding::bad(what, "see CERTIFICATES in hubd-front-proxies(7) for three ways"));
        } else {
            let cure = format!("chgrp {DAEMON} {at}; chmod 640 {at}");
            found.push(Finding::bad(format!("{DAEMON} cannot read {shown}"), cure));
        }
    }
}

/// The file, or the directory above it, that keeps an account out. Lists of access control are not looked at.
fn hindrance(file: &Path, uid: u32, groups: &[u32]) -> Option<PathBuf> {
    // Of a link both ways count: to it, and to where it leads.
    let real = file.canonicalize().ok()?;
    let above = |path: &Path| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
    let mut directories = [above(file), above(&real)].concat();
    directories.retain(|directory| !directory.as_os_str().is_empty());
    directories.sort();
    let closed = directories.into_iter().find(|directory| !may(directory, ENTER, uid, groups));
    closed.or_else(|| (!may(&real, READ, uid, groups)).then_some(real))
}

/// Whether the mode of a file lets an account do this.
fn may(path: &Path, bits: u32, uid: u32, groups: &[u32]) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    let shift = match () {
        () if metadata.uid() == uid => 6,
        () if groups.contains(&metadata.gid()) => 3,
        () => 0,
    };
    metadata.mode() >> shift & bits == bits
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_place_that_keeps_somebody_out_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
        };
        set(directory.path(), 0o755);
        let inner = directory.path().join("live");
        std::fs::create_dir(&inner).unwrap();
        let (file, link) = (inner.join("key"), directory.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let own = std::fs::metadata(&file).unwrap();
        let (others, group) = (own.uid() + 1, own.gid());
        set(&file, 0o640);
        assert_eq!(hindrance(&file, own.uid(), &[]), None);
        assert_eq!(hindrance(&file, others, &[group]), None);
        assert_eq!(hindrance(&file, others, &[]), Some(file.clone()));
        set(&inner, 0o700);
        assert_eq!(hindrance(&file, others, &[group]), Some(inner.clone()));
        assert_eq!(hindrance(&link, others, &[group]), Some(inner));
    }
}
