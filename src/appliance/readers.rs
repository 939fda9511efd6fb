//! Who will read an appliance, and so what of the host may go into it.

use rustix::fs::Access;
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many symlinks in a row are followed; the kernel's own limit.
const HOPS: u8 = 40;

/// Who will read an appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readers {
    /// The user who makes it: what that user may read goes in.
    #[default]
    User,
    /// Everybody on this machine: only what everybody may read goes in, also
    /// where root makes it.
    Everybody,
}

/// Decides which files of the host may go in.
#[derive(Debug)]
pub(super) struct Gate {
    readers: Readers,
    /// Whether everybody can enter a directory, and only root can put something
    /// else in the place of what is there.
    directories: RefCell<HashMap<PathBuf, bool>>,
}

impl Gate {
    pub(super) fn new(readers: Readers) -> Self {
        Self {
            readers,
            directories: RefCell::default(),
        }
    }

    /// Whether the readers may look at what lies at `path`, whatever it is.
    ///
    /// For everybody, a directory that somebody else than root may write to
    /// does not count: a file could be exchanged for a link to a secret after
    /// it was looked at here and before root reads it.
    pub(super) fn sees(&self, path: &Path) -> bool {
        match (self.readers, path.parent()) {
            (Readers::User, _) | (_, None) => true,
            (Readers::Everybody, Some(parent)) => self.enters(parent, HOPS),
        }
    }

    /// Whether the readers may read the file at `path`, or that it links to.
    pub(super) fn reads(&self, path: &Path) -> bool {
        match self.readers {
            Readers::User => rustix::fs::access(path, Access::READ_OK).is_ok(),
            Readers::Everybody => self.everybody_reads(path, HOPS),
        }
    }

    fn everybody_reads(&self, path: &Path, hops: u8) -> bool {
        if !self.sees(path) {
            return false;
        }
        match path.symlink_metadata() {
            Ok(meta) if meta.is_symlink() => {
                let target = follow(path).filter(|_| hops > 0);
                target.is_some_and(|target| self.everybody_reads(&target, hops - 1))
            }
            Ok(meta) => meta.mode() & 0o004 != 0,
            Err(_) => false,
        }
    }

    fn enters(&self, directory: &Path, hops: u8) -> bool {
        if let Some(known) = self.directories.borrow().get(directory) {
            return *known;
        }
        let answer = self.ask(directory, hops);
        let mut known = self.directories.borrow_mut();
        known.insert(directory.to_owned(), answer);
        answer
    }

    fn ask(&self, directory: &Path, hops: u8) -> bool {
        let parent = directory.parent();
        if !parent.is_none_or(|parent| self.enters(parent, hops)) {
            return false;
        }
        match directory.symlink_metadata() {
            Ok(meta) if meta.is_symlink() => {
                let target = follow(directory).filter(|_| hops > 0);
                target.is_some_and(|target| self.enters(&target, hops - 1))
            }
            Ok(meta) if meta.is_dir() => {
                let group_is_root = meta.mode() & 0o020 == 0 || meta.gid() == 0;
                meta.mode() & 0o003 == 0o001 && meta.uid() == 0 && group_is_root
            }
            _ => false,
        }
    }
}

/// Where the symlink `path` leads, one step.
fn follow(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.join(path.read_link().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn everybody_reads_the_systems_files_and_no_secrets() {
        let gate = Gate::new(Readers::Everybody);
        assert!(gate.reads(Path::new("/etc/passwd")));
        // Through a symlink where /usr is merged.
        assert_eq!(
            gate.sees(Path::new("/bin/sh")),
            Path::new("/bin/sh").exists()
        );
        assert!(!gate.reads(Path::new("/etc/shadow")));
        assert!(!gate.reads(Path::new("/etc/no-such-file")));
    }

    #[test]
    fn what_others_may_exchange_is_not_for_everybody() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root makes directories of root");
            return;
        }
        // Not below /tmp, where everybody may write.
        let dir = tempfile::tempdir_in("/var/lib").unwrap();
        let (inside, link) = (dir.path().join("inside"), dir.path().join("link"));
        files::create_dir_all(&inside).unwrap();
        symlink("inside", &link).unwrap();
        let file = link.join("file");
        files::write(&file, "text").unwrap();
        mode(&file, 0o644);
        let named = dir.path().join("named");
        symlink("link/file", &named).unwrap();
        for (outer, inner, admitted) in [
            (0o755, 0o755, true),
            (0o700, 0o755, false),
            (0o755, 0o750, false),
            (0o755, 0o777, false),
            (0o1777, 0o755, false),
        ] {
            mode(dir.path(), outer);
            mode(&inside, inner);
            let gate = Gate::new(Readers::Everybody);
            assert_eq!(gate.reads(&file), admitted, "{outer:o} {inner:o}");
            assert_eq!(gate.reads(&named), admitted, "{outer:o} {inner:o}");
            assert!(Gate::new(Readers::User).reads(&file));
        }
        // The mode of a link says nothing of what it leads to.
        mode(dir.path(), 0o755);
        mode(&inside, 0o755);
        mode(&file, 0o600);
        assert!(!Gate::new(Readers::Everybody).reads(&named));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("link", &link).unwrap();
        let gate = Gate::new(Readers::Everybody);
        assert!(!gate.sees(&link.join("file")) && !gate.reads(&link));
    }
}
