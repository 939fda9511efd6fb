//! This very system as a root to install in: an overlay takes what is written.

use super::{cache, require, require_root, run, skip};
use crate::packages::Root;
use std::path::PathBuf;
use std::process::Command;

/// What is written goes with it.
pub(crate) struct Overlay {
    pub(crate) root: Root,
    /// Where the overlay and what it keeps are mounted.
    mounts: Vec<PathBuf>,
}

/// An overlay over this system, if it is a Debian in one file system.
pub(crate) fn overlay(name: &str) -> Option<Overlay> {
    if !require(&["mount", "umount", "apt-get"]) || !require_root() {
        return None;
    }
    let path = cache().join(format!("{name}.{}", std::process::id()));
    let at = |name: &str| path.join(name);
    std::fs::create_dir_all(&path).unwrap();
    // In memory, since an overlay cannot write to another one, which a
    // container's root is.
    run(Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(&path));
    for directory in ["upper", "work", "merged"] {
        std::fs::create_dir(at(directory)).unwrap();
    }
    let layers = format!(
        "lowerdir=/,upperdir={},workdir={}",
        at("upper").display(),
        at("work").display()
    );
    let mut mount = Command::new("mount");
    mount.args(["-t", "overlay", "none", "-o", &layers]);
    run(mount.arg(at("merged")));
    let overlay = Overlay {
        root: Root { path: at("merged") },
        mounts: vec![at("merged"), path],
    };
    let whole = ["usr/bin/dpkg", "var/lib/dpkg/status", "lib/modules"];
    let there = |name: &&&str| !overlay.root.path.join(name).exists();
    if let Some(name) = whole.iter().find(there) {
        skip(&format!("/{name} is not in the root file system"));
        return None;
    }
    Some(overlay)
}

impl Drop for Overlay {
    fn drop(&mut self) {
        for mount in &self.mounts {
            let _ = Command::new("umount").arg(mount).status();
        }
        if let Some(path) = self.mounts.last() {
            let _ = std::fs::remove_dir(path); // empty, or it is left alone
        }
    }
}
