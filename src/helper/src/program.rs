//! Which program a profile runs, and whether only root could have put it there.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io::Read};

use hubd_policy::{Refusal, policy::Profile};
use hubd_proto::message::RefusalCode;

/// Most symbolic links on the way to a program, as the kernel's own limit.
const LINKS_MAX: u32 = 40;
/// How much of a program is read to find its interpreter, in bytes; the kernel reads as much.
const INTERPRETER_BYTES_MAX: u64 = 256;

/// The first of the profile's programs that exists, after checking that it is safe to run.
///
/// # Errors
/// `program-missing`, with everything that was looked at and the cure.
pub fn choose(profile: &Profile, root: bool) -> Result<PathBuf, Refusal> {
    let missing = |message: String| Refusal::new(RefusalCode::ProgramMissing, message);
    let Some(program) = profile.program.iter().find(|path| path.exists()) else {
        return Err(Refusal::no_program(&profile.program));
    };
    let check = || {
        let found = fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?;
        if !found.is_file() || found.mode() & 0o111 == 0 {
            return Err(format!("{} is not an executable file; run: chmod 755 {0}", program.display()));
        }
        let paths = [Some(program.clone()), interpreter(program)].into_iter().flatten();
        paths.filter(|_| root).try_for_each(|path| only_root_can_change(&path, LINKS_MAX))
    };
    check().map_err(missing)?;
    Ok(program.clone())
}

/// Looks at every component of the path, and of the paths of the links on it: each must be root's alone.
fn only_root_can_change(path: &Path, links_left: u32) -> Result<(), String> {
    let mut parts: Vec<_> = path.ancestors().collect();
    while let Some(part) = parts.pop() {
        let failed = |error| format!("{}: {error}", part.display());
        let found = fs::symlink_metadata(part).map_err(failed)?;
        let link = found.file_type().is_symlink();
        if found.uid() != 0 {
            return Err(format!("{} does not belong to root; run: chown root {0}", part.display()));
        }
        if !link && found.mode() & 0o022 != 0 {
            return Err(format!("others than root may write {}; run: chmod go-w {0}", part.display()));
        }
        if link {
            let left = links_left
                .checked_sub(1)
                .ok_or_else(|| format!("too many symbolic links on the way to {}", path.display()))?;
            let target = fs::read_link(part).map_err(failed)?;
            only_root_can_change(&part.with_file_name(target), left)?;
        }
    }
    Ok(())
}

/// The program behind `#!`, if the file is a script.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    fs::File::open(script).ok()?.take(INTERPRETER_BYTES_MAX).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let word = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
    Some(PathBuf::from(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_somebody_else_or_writable_by_others_is_refused() {
        assert!(only_root_can_change(Path::new("/bin/sh"), LINKS_MAX).is_ok());
        let refusal =
            only_root_can_change(Path::new("/tmp/x"), LINKS_MAX).expect_err("/tmp is writable by all");
        assert!(refusal.contains("/tmp"), "{refusal}");
    }

    #[test]
    fn what_was_looked_for_is_named() {
        let profile =
            Profile { program: vec!["/nowhere/a".into(), "/nowhere/b".into()], ..Profile::default() };
        let refusal = choose(&profile, true).expect_err("nothing there");
        assert!(refusal.refused.message.contains("/nowhere/a, /nowhere/b"));
    }
}
