//! The appliance as a program in it would see it: paths, links, bytes.

use super::elf::{self, Elf};
use crate::appliance::plan::{Content, Entry, Node, Plan};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

/// Where the guest's `/init` looks for commands; the same as in its template.
pub(super) const PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// What the guest fills at run time: nobody can say what will be there.
const RUNTIME: [&str; 7] = [
    "/dev", "/proc", "/sys", "/run", "/tmp", "/var/run", "/var/tmp",
];

/// As many symlinks as Linux follows in one path; path_resolution(7).
const MOST_LINKS: usize = 40;

/// The paths of a plan.
pub(super) struct Inside<'a> {
    entries: HashMap<&'a Path, &'a Entry>,
}

/// Where a path leads.
pub(super) enum Lookup<'a> {
    /// To this, which is no symlink.
    There(&'a Entry),
    /// To where only the running guest knows what is.
    Unknown,
    /// To nothing: this is what is not there.
    Missing(PathBuf),
}

impl<'a> Inside<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let entries = plan.entries.iter();
        Self {
            entries: entries.map(|entry| (entry.path.as_path(), entry)).collect(),
        }
    }

    /// What lies at `path`, symlinks followed.
    pub(super) fn look(&self, path: &Path) -> Lookup<'a> {
        let parts = |path: &Path| -> Vec<OsString> {
            let parts = path.components().rev().filter_map(|part| match part {
                Component::Normal(part) => Some(part.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            });
            parts.collect()
        };
        let mut rest = parts(path);
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&part);
            if RUNTIME.iter().any(|runtime| next.starts_with(runtime)) {
                return Lookup::Unknown;
            }
            match self.entries.get(next.as_path()).map(|entry| &entry.node) {
                None => return Lookup::Missing(next),
                Some(Node::Symlink(target)) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Lookup::Missing(next);
                    }
                    if target.is_absolute() {
                        here = "/".into();
                    }
                    rest.extend(parts(target));
                }
                Some(_) => here = next,
            }
        }
        match self.entries.get(here.as_path()) {
            Some(entry) => Lookup::There(entry),
            None => Lookup::Missing(here),
        }
    }

    /// The entry at `path`, if it is there.
    pub(super) fn find(&self, path: &Path) -> Option<&'a Entry> {
        match self.look(path) {
            Lookup::There(entry) => Some(entry),
            _ => None,
        }
    }

    /// The command that a shell finds for `name`.
    pub(super) fn command(&self, name: &str) -> Option<&'a Entry> {
        let mut candidates = PATH
            .iter()
            .filter_map(|directory| self.find(&Path::new(directory).join(name)));
        candidates.find(|entry| is_file(entry) && entry.mode & 0o111 != 0)
    }

    /// The names of all commands.
    pub(super) fn commands(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.entries.keys().filter_map(|path| {
            let directory = path.parent()?.to_str()?;
            PATH.contains(&directory)
                .then(|| path.file_name()?.to_str())?
        })
    }

    /// `length` bytes at `offset` of a file, or fewer at its end.
    pub(super) fn read(&self, entry: &Entry, offset: u64, length: usize) -> Option<Vec<u8>> {
        let content = match &entry.node {
            Node::File(content) => content,
            Node::HardLink(first) => match &self.entries.get(first.as_path())?.node {
                Node::File(content) => content,
                _ => return None,
            },
            _ => return None,
        };
        match content {
            Content::Bytes(bytes) => {
                let start = usize::try_from(offset).ok()?.min(bytes.len());
                let end = start.saturating_add(length).min(bytes.len());
                Some(bytes[start..end].to_vec())
            }
            Content::Host(host) => {
                let file = std::fs::File::open(&host.path).ok()?;
                let mut bytes = vec![0; length];
                let mut filled = 0;
                while filled < length {
                    match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                        Ok(0) => break,
                        Ok(count) => filled += count,
                        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(_) => return None,
                    }
                }
                bytes.truncate(filled);
                Some(bytes)
            }
        }
    }

    /// What the ELF file `entry` asks for; `None` if it is none.
    pub(super) fn elf(&self, entry: &Entry) -> Option<Elf> {
        elf::parse(&|offset, length| self.read(entry, offset, length))
    }

    /// Which loader `entry` is for.
    pub(super) fn kind(&self, entry: &Entry) -> Option<elf::Kind> {
        elf::kind(&self.read(entry, 0, 20)?)
    }
}

/// Whether it is a regular file, by whatever name.
pub(super) fn is_file(entry: &Entry) -> bool {
    matches!(entry.node, Node::File(_) | Node::HardLink(_))
}
