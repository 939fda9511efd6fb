//! What the host has at a path, as entries of a plan.

use super::plan::{Entry, Origin, Xattr};
use crate::node::{Content, HostFile, Node};
use crate::{Error, Result, files, glob};
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What the host below `root` has at `path`; `None` if that is nothing.
pub(super) fn host_entry(root: &Path, path: &Path, origin: Origin) -> Option<Entry> {
    let real = glob::below(root, path);
    let meta = real.symlink_metadata().ok()?;
    let node = node_of(&real, &meta).ok()?;
    Some(entry_of(path, node, &meta, origin))
}

pub(super) fn entry_of(path: &Path, node: Node, meta: &Metadata, origin: Origin) -> Entry {
    Entry {
        path: path.to_owned(),
        node,
        mode: (meta.mode() & 0o7777) as u16,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: meta.mtime(),
        xattrs: Vec::new(),
        origin,
    }
}

/// The extended attributes of a file that mean the same in another system:
/// capabilities, and those of users.  SELinux labels are of the host's policy.
pub(super) fn xattrs(path: &Path) -> Vec<Xattr> {
    // Nearly all files have none, or lie on a file system without.
    if rustix::fs::llistxattr_query(path).unwrap_or(0) == 0 {
        return Vec::new();
    }
    let mut names = vec![0; 64 << 10]; // the most that the kernel has
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|&byte| byte == 0);
    names
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| *name == "security.capability" || name.starts_with("user."))
        .filter_map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
            value.truncate(length);
            Some(Xattr {
                name: name.into(),
                value,
            })
        })
        .collect()
}

pub(super) fn node_of(path: &Path, meta: &Metadata) -> Result<Node> {
    let kind = meta.file_type();
    let device = || {
        (
            rustix::fs::major(meta.rdev()),
            rustix::fs::minor(meta.rdev()),
        )
    };
    Ok(if kind.is_dir() {
        Node::Directory
    } else if kind.is_file() {
        Node::File(Content::Host(HostFile::new(path, meta)))
    } else if kind.is_symlink() {
        let target = path
            .read_link()
            .map_err(|e| Error::io("cannot read the link", path, e))?;
        Node::Symlink(target)
    } else if kind.is_char_device() {
        let (major, minor) = device();
        Node::CharDevice(major, minor)
    } else if kind.is_block_device() {
        let (major, minor) = device();
        Node::BlockDevice(major, minor)
    } else if kind.is_fifo() {
        Node::Fifo
    } else {
        Node::Socket
    })
}

/// The directory tree at `source` as entries below `path`, with symlinks as they are.
pub(super) fn host_tree(path: &Path, source: &Path, origin: &Origin) -> Result<Vec<Entry>> {
    let meta = std::fs::metadata(source).map_err(|e| Error::io("cannot examine", source, e))?;
    let mut entries = vec![entry_of(path, Node::Directory, &meta, origin.clone())];
    let cannot = |e| Error::io("cannot list", source, e);
    for entry in std::fs::read_dir(source).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        let (path, source) = (path.join(&name), source.join(&name));
        let meta = files::lstat(&source)?;
        if meta.is_dir() {
            entries.extend(host_tree(&path, &source, origin)?);
        } else {
            let node = node_of(&source, &meta)?;
            entries.push(entry_of(&path, node, &meta, origin.clone()));
        }
    }
    Ok(entries)
}
