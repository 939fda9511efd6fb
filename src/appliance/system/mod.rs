//! Completing a system: what the scriptlets of packages would have done.
//!
//! supermin and Freezedry run no scriptlets, so an appliance of packages would
//! come up without users, enabled services and much more.  Here all that is
//! made from the packages' own data, when the plan is made: it costs the guest
//! nothing, and `rehydrate --explain` shows it.

mod accounts;
mod alternatives;
mod database;
mod defaults;
mod enable;
mod host_data;
mod linker;
mod pam;
mod people;
mod scriptlets;
mod sshd;
mod sysusers;
mod tmpfiles;
mod unit;
mod words;

pub use scriptlets::{Unreproduced, unreproduced};

use super::host_entries;
use super::plan::{Content, Entry, Node, Origin};
use super::tree::{Parents, Tree, directory};
use crate::files;
use crate::glob::{self, Pattern};
use crate::host::{Host, Package, PackageId};
use enable::Units;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a system is completed from.
pub(super) struct Context<'a> {
    pub(super) host: &'a Host,
    /// The packages in the plan.
    pub(super) ids: &'a [PackageId],
    pub(super) packages: Vec<&'a Package>,
    /// Paths that the author does not want.
    pub(super) excludes: &'a [Pattern],
}

impl Context<'_> {
    fn has_package(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name)
    }

    /// Puts in what the host has at `path`, unless something is there, the
    /// author does not want it, or not everybody may read it.
    fn host_file<P: Parents>(&self, tree: &mut Tree<P>, path: &Path) {
        let unwanted = self.excludes.iter().any(|pattern| pattern.matches(path));
        if unwanted || tree.look_at(path).is_some() {
            return;
        }
        let entry = host_entries::host_entry(self.host.root(), path, Origin::Generated);
        if let Some(entry) = entry.filter(|entry| entry.mode & 0o004 != 0) {
            tree.put(entry);
        }
    }
}

/// Files of the host, besides its package database, that decide what is made here.
pub(super) fn inputs(root: &Path) -> Vec<PathBuf> {
    [
        "/etc/passwd",
        "/etc/group",
        "/etc/ld.so.cache",
        "/etc/alternatives",
        "/etc/ssl/certs",
        "/etc/pki/ca-trust/extracted/pem",
    ]
    .iter()
    .map(|path| glob::below(root, Path::new(path)))
    .collect()
}

/// Completes `tree`.
pub(super) fn complete<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>) {
    alternatives::apply(tree, context.host.root());
    defaults::apply(tree);
    pam::apply(tree);
    host_data::apply(tree, context);
    let with_systemd = tree
        .look_up(Path::new("/usr/lib/systemd/systemd"))
        .is_some()
        || tree.look_up(Path::new("/lib/systemd/systemd")).is_some();
    let mut units = None;
    if with_systemd {
        sshd::host_keys(tree);
        let record = |manager: &str| enabled_on(context.host, manager);
        let of_users = Units::load(tree, "user");
        of_users.enable(tree, record("user").as_ref());
        let of_system = Units::load(tree, "system");
        of_system.enable(tree, record("system").as_ref());
        defaults::of_systemd(tree);
        units = Some(of_system);
    }
    people::apply(tree, context, units.as_ref());
    database::apply(tree, context);
    scriptlets::apply(tree, context);
    host_data::library_cache(tree, context);
}

/// The units that the maintainer scripts of a Debian host enabled; `None` where
/// they keep no record.
///
/// deb-systemd-helper(1p) lists in `UNIT.dsh-also` the links that a unit can
/// have, and has a file at the place of each that it made.
fn enabled_on(host: &Host, manager: &str) -> Option<BTreeSet<String>> {
    let directory = glob::below(
        host.root(),
        Path::new(match manager {
            "user" => "/var/lib/systemd/deb-systemd-user-helper-enabled",
            _ => "/var/lib/systemd/deb-systemd-helper-enabled",
        }),
    );
    let prefix = format!("/etc/systemd/{manager}/");
    let names = std::fs::read_dir(&directory)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let unit = name.strip_suffix(".dsh-also")?;
            let links = files::read_text(entry.path()).ok()?;
            let made = |link: &str| {
                let inside = link.strip_prefix(&prefix);
                inside.is_some_and(|inside| directory.join(inside).exists())
            };
            links.lines().any(made).then(|| unit.to_owned())
        });
    Some(names.collect())
}

/// The files `*.EXTENSION` of a directory of configuration snippets, in the
/// order of their names; of two with one name the first directory's counts.
fn snippets<P: Parents>(tree: &Tree<P>, name: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found: BTreeMap<PathBuf, String> = BTreeMap::new();
    for directory in ["/etc", "/usr/local/lib", "/usr/lib", "/lib"] {
        for entry in tree.children(&Path::new(directory).join(name)) {
            let Some(file) = entry.path.file_name().map(PathBuf::from) else {
                continue;
            };
            if file.extension().is_none_or(|found| found != extension) || found.contains_key(&file)
            {
                continue;
            }
            // A link to /dev/null silences the file of the same name below.
            let bytes = tree.read(&entry.path).unwrap_or_default();
            found.insert(file, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    found.into_iter().collect()
}

/// A regular file of root with these bytes.
fn file_entry(path: &Path, mode: u16, bytes: Vec<u8>) -> Entry {
    Entry {
        node: Node::File(Content::Bytes(bytes.into())),
        mode,
        ..directory(path.to_owned(), Origin::Generated)
    }
}

/// Puts in a regular file, unless something is there.
fn file<P: Parents>(tree: &mut Tree<P>, path: &Path, mode: u16, bytes: Vec<u8>) {
    if tree.look_at(path).is_none() {
        tree.put(file_entry(path, mode, bytes));
    }
}

/// Puts in a symlink, unless something is there.
fn link<P: Parents>(tree: &mut Tree<P>, path: &Path, target: &Path) {
    if tree.look_at(path).is_none() {
        tree.put(Entry {
            node: Node::Symlink(target.to_owned()),
            mode: 0o777,
            ..directory(path.to_owned(), Origin::Generated)
        });
    }
}
