//! The plan: the complete, ordered list of what goes into an appliance.
//!
//! Everything before it (skeleton, package database, globs, excludes) only
//! makes the plan; everything after it (ext2, chroot) only consumes it.

pub use crate::node::{Content, HostFile, Node};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What goes into the appliance.
///
/// Held by [`Plan::entries`]: the first entry is `/`; every path is absolute,
/// normal (no `.`, `..`, `//` or trailing slash) and occurs once; a directory
/// comes before what lies in it; the target of a hard link comes before the
/// link; the parent of each entry is a real directory of the plan, never a
/// symlink.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The entries, parents first.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// Whether there is an `/init`, which the guest's kernel runs first.
    pub fn has_init(&self) -> bool {
        let is_init = |entry: &Entry| entry.path == Path::new("/init");
        self.entries
            .iter()
            .any(|entry| is_init(entry) && entry.node != Node::Directory)
    }

    /// Gives absolute symlinks relative targets, so that a tree made of the plan
    /// can be walked from outside.
    pub fn make_links_relative(&mut self) {
        for entry in &mut self.entries {
            let depth = entry.path.components().count().saturating_sub(2);
            if let Node::Symlink(target) = &mut entry.node
                && let Ok(below) = target.strip_prefix("/")
            {
                let relative: PathBuf = ["../".repeat(depth).as_ref(), below].iter().collect();
                *target = if relative.as_os_str().is_empty() {
                    PathBuf::from(".")
                } else {
                    relative
                };
            }
        }
    }
}

/// One path of the appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies in the appliance; absolute and normal.  Any bytes but NUL.
    pub path: PathBuf,
    /// What it is.
    pub node: Node,
    /// Its permission bits, at most 0o7777.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time, in seconds since 1970.
    pub mtime: i64,
    /// Extended attributes of a regular file.
    pub xattrs: Vec<Xattr>,
    /// Why it is here; for people, see `freezedry rehydrate --explain`.
    pub origin: Origin,
}

impl Entry {
    /// The bytes of a regular file; 0 for everything else.
    pub fn size(&self) -> u64 {
        match &self.node {
            Node::File(content) => content.size(),
            _ => 0,
        }
    }
}

/// An extended attribute, see xattr(7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// Its name, with prefix.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// Why an entry is in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file of this package.
    Package(Arc<str>),
    /// A member of a tar file of the skeleton, with the file's name.
    BaseImage(Arc<str>),
    /// Named by `hostfiles`.
    HostFile,
    /// A directory that something else needed above it.
    Parent,
    /// A kernel module or an index of them.
    Module,
    /// Made by Freezedry.
    Generated,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::tree::directory;

    #[test]
    fn absolute_links_become_relative_at_any_depth() {
        for (path, target, expected) in [
            (
                "/usr/bin/awk",
                "/etc/alternatives/awk",
                "../../etc/alternatives/awk",
            ),
            ("/init", "/sbin/init", "sbin/init"),
            ("/a/b", "c", "c"),
            ("/all", "/", "."),
        ] {
            let mut plan = Plan {
                entries: vec![Entry {
                    node: Node::Symlink(target.into()),
                    ..directory(path.into(), Origin::Generated)
                }],
            };
            plan.make_links_relative();
            assert_eq!(
                plan.entries[0].node,
                Node::Symlink(expected.into()),
                "{path}"
            );
        }
    }
}
