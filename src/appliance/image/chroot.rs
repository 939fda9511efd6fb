//! Realising a plan as a directory tree: no child process, no following of
//! symlinks.

use super::ext2::Extent;
use super::sink::{Source, copy};
use crate::appliance::plan::{Entry, Plan};
use crate::node::{Content, Node};
use crate::{Error, Result};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What could not be made, because only root may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Device nodes that are missing.
    pub devices: Vec<PathBuf>,
    /// Whether everything belongs to this user instead of its owner.
    pub owners: bool,
}

/// Makes the tree of `plan` in `directory`, which must not exist.
pub fn write(plan: &Plan, directory: &Path) -> Result<Skipped> {
    let root = rustix::process::geteuid().is_root();
    let mut skipped = Skipped {
        owners: !root,
        ..Skipped::default()
    };
    for entry in &plan.entries {
        let path = inside(directory, &entry.path);
        let cannot = |e: io::Error| Error::io("cannot make", &path, e);
        match &entry.node {
            // For now only the owner may enter: modes are set last.
            Node::Directory => std::fs::DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(cannot)?,
            Node::File(content) => write_file(content, &path)?,
            Node::Symlink(target) => std::os::unix::fs::symlink(target, &path).map_err(cannot)?,
            Node::HardLink(target) => {
                std::fs::hard_link(inside(directory, target), &path).map_err(cannot)?;
            }
            Node::CharDevice(..) | Node::BlockDevice(..) if !root => {
                skipped.devices.push(entry.path.clone());
            }
            Node::CharDevice(major, minor) => {
                make_node(&path, FileType::CharacterDevice, *major, *minor).map_err(cannot)?;
            }
            Node::BlockDevice(major, minor) => {
                make_node(&path, FileType::BlockDevice, *major, *minor).map_err(cannot)?;
            }
            Node::Fifo => make_node(&path, FileType::Fifo, 0, 0).map_err(cannot)?,
            Node::Socket => make_node(&path, FileType::Socket, 0, 0).map_err(cannot)?,
        }
    }
    // Children before parents: a directory may become unwritable, and its time
    // changes with each child.
    for entry in plan.entries.iter().rev() {
        if !skipped.devices.contains(&entry.path) && !matches!(entry.node, Node::HardLink(_)) {
            set_metadata(entry, &inside(directory, &entry.path), root)?;
        }
    }
    Ok(skipped)
}

/// The plan's parents are directories that were made here, so that joining
/// paths never leads out.
fn inside(directory: &Path, path: &Path) -> PathBuf {
    directory.join(path.strip_prefix("/").unwrap_or(path))
}

fn make_node(path: &Path, kind: FileType, major: u32, minor: u32) -> io::Result<()> {
    let device = rustix::fs::makedev(major, minor);
    Ok(rustix::fs::mknodat(
        CWD,
        path,
        kind,
        Mode::from_raw_mode(0o600),
        device,
    )?)
}

fn write_file(content: &Content, path: &Path) -> Result<()> {
    let cannot = |e: io::Error| Error::io("cannot write", path, e);
    let mut file = std::fs::File::create_new(path).map_err(cannot)?;
    match content {
        Content::Bytes(bytes) => file.write_all(bytes).map_err(cannot)?,
        Content::Host(planned) => {
            let source = Source::open(planned)?;
            let whole = Extent {
                offset: 0,
                source_offset: 0,
                length: planned.size,
                content,
            };
            // Holes stay holes.
            file.set_len(planned.size).map_err(cannot)?;
            copy(&file, &whole, &source, &AtomicBool::new(true))
                .map_err(|e| Error::io("cannot copy", &planned.path, e))?;
            source.finish()?;
        }
    }
    Ok(())
}

fn set_metadata(entry: &Entry, path: &Path, root: bool) -> Result<()> {
    let cannot =
        |e: rustix::io::Errno| Error::io("cannot set owner, attributes or time of", path, e);
    if root {
        let owner = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, path, Some(owner.0), Some(owner.1), no_follow).map_err(cannot)?;
    }
    for xattr in entry
        .xattrs
        .iter()
        .filter(|xattr| root || xattr.name.starts_with("user."))
    {
        // A file system without them is no reason to fail.
        match rustix::fs::lsetxattr(path, &xattr.name, &xattr.value, XattrFlags::empty()) {
            Err(rustix::io::Errno::OPNOTSUPP) => {}
            result => result.map_err(cannot)?,
        }
    }
    if !matches!(entry.node, Node::Symlink(_)) {
        // After the owner: a change of owner takes set-user-ID bits away (and
        // capabilities).
        std::fs::set_permissions(path, PermissionsExt::from_mode(entry.mode.into()))
            .map_err(|e| Error::io("cannot set the mode of", path, e))?;
    }
    let time = Timespec {
        tv_sec: entry.mtime,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(cannot)?;
    Ok(())
}
