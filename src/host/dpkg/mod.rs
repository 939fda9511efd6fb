//! dpkg's database, read directly.

mod diversions;
mod status;
pub mod version;

use super::packages::{
    ConfigFile, ConfigState, Package, PackageDatabase, PackageFile, PackageId, Resolution,
    once_each, reachable,
};
use crate::glob::below;
use crate::{Result, files};
use diversions::Diversion;
use md5::{Digest, Md5};
use status::Relation;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The file with every package's state.
pub const STATUS: &str = "/var/lib/dpkg/status";
/// The file that says which paths lie elsewhere than their package thinks.
pub const DIVERSIONS: &str = "/var/lib/dpkg/diversions";
/// The directory with what has changed since the status file was written: dpkg's
/// journal, which it folds in when it ends.
pub const UPDATES: &str = "/var/lib/dpkg/updates";
const INFO: &str = "/var/lib/dpkg/info";

/// The installed packages of a Debian system.
#[derive(Debug)]
pub struct Dpkg {
    root: PathBuf,
    native: String,
    packages: Vec<Package>,
    details: Vec<Details>,
    by_name: HashMap<String, Vec<PackageId>>,
    /// Who provides a virtual package, and in which version.
    provided: HashMap<String, Vec<(PackageId, Relation)>>,
    /// Who has replaced a package.
    replaced: HashMap<String, Vec<PackageId>>,
    diversions: HashMap<PathBuf, Diversion>,
}

/// What a package has besides its name.
#[derive(Debug)]
struct Details {
    /// `Depends`, then `Pre-Depends`.
    depends: Vec<Vec<Relation>>,
    /// Path and MD5 of each configuration file that is not obsolete.
    conffiles: Vec<(PathBuf, String)>,
    /// Whether its file list carries the architecture in its name.
    same: bool,
    /// Whether it is fully installed: not waiting for triggers.
    settled: bool,
    essential: bool,
}

impl Dpkg {
    /// Reads the database below `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let text = files::read(below(root, Path::new(STATUS)))?;
        let journal = journal(&below(root, Path::new(UPDATES)));
        let mut database = Self::parse(&String::from_utf8_lossy(&text), &journal);
        root.clone_into(&mut database.root);
        let path = below(root, Path::new(DIVERSIONS));
        if path.exists() {
            database.diversions = diversions::parse(&files::read(path)?);
        }
        Ok(database)
    }

    fn parse(text: &str, journal: &str) -> Self {
        let mut database = Self {
            root: "/".into(),
            native: String::new(),
            packages: Vec::new(),
            details: Vec::new(),
            by_name: HashMap::new(),
            provided: HashMap::new(),
            replaced: HashMap::new(),
            diversions: HashMap::new(),
        };
        for record in status::amended(status::parse(text), status::parse(journal)) {
            // In these states all files are there and configured.
            let settled = record.state == "installed";
            if record.name == "dpkg" {
                // dpkg itself is always of the native architecture, also while
                // it is being upgraded.
                record.architecture.clone_into(&mut database.native);
            }
            if !settled && !record.state.starts_with("triggers-") {
                continue;
            }
            let id = database.packages.len();
            let by_name = database.by_name.entry(record.name.to_owned());
            by_name.or_default().push(id);
            for provided in status::relations(record.provides).into_iter().flatten() {
                let by = database.provided.entry(provided.name.clone());
                by.or_default().push((id, provided));
            }
            for replaced in status::relations(record.replaces).into_iter().flatten() {
                let by = database.replaced.entry(replaced.name);
                by.or_default().push(id);
            }
            let mut depends = status::relations(record.depends);
            depends.extend(status::relations(record.pre_depends));
            database.details.push(Details {
                depends,
                conffiles: conffiles(record.conffiles),
                same: record.same,
                settled,
                essential: record.essential,
            });
            database.packages.push(Package {
                name: record.name.to_owned(),
                version: record.version.to_owned(),
                architecture: record.architecture.to_owned(),
                separators: ['_', '_'],
            });
        }
        database
    }

    /// Whether `id` is of the native architecture, or of all.
    fn is_native(&self, id: PackageId) -> bool {
        let architecture = &self.packages[id].architecture;
        architecture == "all" || *architecture == self.native
    }

    fn named(&self, name: &str) -> &[PackageId] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// The package that supermin would take for a dependency's first alternative.
    fn compatible(&self, group: &[Relation]) -> Option<PackageId> {
        let first = group.first()?;
        if first.qualifier.is_some() {
            return None;
        }
        self.settled(&first.name)
    }

    /// The fully installed package called `name`, without an architecture.
    fn settled(&self, name: &str) -> Option<PackageId> {
        let mut candidates = self.named(name).iter().copied();
        candidates.find(|&id| self.is_native(id) && self.details[id].settled)
    }

    /// The diversion, by whomever, that moved the `path` of `package` elsewhere.
    fn diverted(&self, package: PackageId, path: &Path) -> Option<&Diversion> {
        let diversion = self.diversions.get(path)?;
        // With `dpkg-divert --no-rename` nothing moves until the next upgrade.
        let moved = || below(&self.root, &diversion.to).symlink_metadata().is_ok();
        (diversion.by != self.packages[package].name && moved()).then_some(diversion)
    }

    /// The package that satisfies a dependency of `dependent`: of those that
    /// do, one that is chosen already, else the first.
    fn satisfying(
        &self,
        group: &[Relation],
        dependent: PackageId,
        chosen: &[bool],
    ) -> Option<PackageId> {
        let mut first = None;
        for relation in group {
            let real = self
                .named(&relation.name)
                .iter()
                .copied()
                .filter(|&id| self.fits(id, relation, dependent))
                .filter(|&id| relation.admits(&self.packages[id].version));
            let provided = self.provided.get(&relation.name).into_iter().flatten();
            let virtual_ = provided
                .filter(|(_, provision)| match (&relation.bound, &provision.bound) {
                    (None, _) => true,
                    // An unversioned provision satisfies no versioned relation.
                    (Some(_), None) => false,
                    (Some(_), Some((_, version))) => relation.admits(version),
                })
                .map(|(id, _)| *id);
            for id in real.chain(virtual_) {
                if chosen[id] {
                    return Some(id);
                }
                first = first.or(Some(id));
            }
        }
        first
    }

    /// Whether the architecture of `id` can serve `dependent`.
    fn fits(&self, id: PackageId, relation: &Relation, dependent: PackageId) -> bool {
        match relation.qualifier.as_deref() {
            Some("any") => true,
            Some("native") => self.is_native(id),
            Some(architecture) => self.packages[id].architecture == architecture,
            None => {
                let wanted = &self.packages[dependent].architecture;
                self.packages[id].architecture == *wanted
                    || self.is_native(id) && (wanted == "all" || !self.details[id].same)
            }
        }
    }

    fn list(&self, id: PackageId) -> Result<Vec<u8>> {
        let package = &self.packages[id];
        let suffix = if self.details[id].same {
            format!(":{}.list", package.architecture)
        } else {
            ".list".into()
        };
        let path = Path::new(INFO).join(format!("{}{suffix}", package.name));
        files::read(below(&self.root, &path)).map_err(|e| {
            e.hint(format!(
                "repair the package database: reinstall `{}`",
                package.name
            ))
        })
    }
}

impl PackageDatabase for Dpkg {
    fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// `name` or `name:architecture`; a bare name means the native architecture.
    fn find(&self, name: &str) -> Option<PackageId> {
        let (name, architecture) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (name, None),
        };
        self.named(name)
            .iter()
            .copied()
            .find(|&id| match architecture {
                Some(wanted) => self.packages[id].architecture == wanted,
                None => self.is_native(id),
            })
    }

    /// As supermin: the compatible way takes no package that waits for a trigger,
    /// and knows no `name:architecture`.
    fn find_as(&self, name: &str, resolution: Resolution) -> Option<PackageId> {
        match resolution {
            Resolution::Compatible => self.settled(name),
            Resolution::Correct => self.find(name),
        }
    }

    fn known_as(&self, name: &str) -> Vec<PackageId> {
        let provided = self
            .provided
            .get(name)
            .into_iter()
            .flatten()
            .map(|(id, _)| *id);
        let replaced = self.replaced.get(name).into_iter().flatten().copied();
        provided.chain(replaced).collect()
    }

    fn essential(&self) -> Vec<PackageId> {
        let ids = 0..self.packages.len();
        ids.filter(|&id| self.details[id].essential).collect()
    }

    fn closure(&self, roots: &[PackageId], resolution: Resolution) -> Vec<PackageId> {
        reachable(&self.packages, roots, |id, chosen| {
            let groups = self.details[id].depends.iter();
            match resolution {
                Resolution::Compatible => {
                    groups.filter_map(|group| self.compatible(group)).collect()
                }
                Resolution::Correct => groups
                    .filter_map(|group| self.satisfying(group, id, chosen))
                    .collect(),
            }
        })
    }

    fn files(&self, packages: &[PackageId]) -> Result<Vec<PackageFile>> {
        let chosen = |name: &str| packages.iter().any(|&id| self.packages[id].name == name);
        let mut found = Vec::new();
        for &package in packages {
            for line in self.list(package)?.split(|&byte| byte == b'\n') {
                // `/.` is the root directory.
                if !line.starts_with(b"/") || line == b"/." {
                    continue;
                }
                let mut path = PathBuf::from(OsStr::from_bytes(line));
                let mut source = path.clone();
                if let Some(diversion) = self.diverted(package, &path) {
                    source.clone_from(&diversion.to);
                    // Both owners are in: each keeps the name that it has here.
                    if chosen(&diversion.by) {
                        path.clone_from(&diversion.to);
                    }
                }
                let config = path.starts_with("/etc")
                    && below(&self.root, &source)
                        .symlink_metadata()
                        .is_ok_and(|meta| meta.is_file());
                found.push(PackageFile {
                    path,
                    source,
                    package,
                    config,
                });
            }
        }
        Ok(once_each(found, |file| &file.path))
    }

    fn config_files(&self, packages: &[PackageId]) -> Result<Vec<ConfigFile>> {
        let mut found = Vec::new();
        for &package in packages {
            for (path, expected) in &self.details[package].conffiles {
                let real = below(&self.root, path);
                let state = match files::read(&real) {
                    Ok(content) if hex(&Md5::digest(&content)) == *expected => {
                        ConfigState::Pristine
                    }
                    Ok(_) => ConfigState::Edited,
                    Err(_) if real.symlink_metadata().is_err() => ConfigState::Missing,
                    Err(_) => ConfigState::Unreadable,
                };
                let path = path.clone();
                found.push(ConfigFile { path, state });
            }
        }
        Ok(once_each(found, |file| &file.path))
    }

    fn digest(&self, package: PackageId, path: &Path) -> Result<Option<String>> {
        let mut known = self.details[package].conffiles.iter();
        let digest = known.find(|(known, _)| known == path);
        Ok(digest.map(|(_, digest)| digest.clone()))
    }
}

/// The text of dpkg's journal, oldest first.  There is one while dpkg runs, and
/// what scripts of packages are told about themselves is in it.
fn journal(directory: &Path) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        // Others are being written.
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().as_bytes();
            name.iter().all(u8::is_ascii_digit)
        })
        .collect();
    files.sort();
    // One that has vanished in between is in the status file now.
    let texts = files.iter().filter_map(|path| files::read(path).ok());
    let texts: Vec<String> = texts
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect();
    texts.join("\n")
}

/// The lines `path md5 [obsolete]` of a `Conffiles` field.
fn conffiles(field: &str) -> Vec<(PathBuf, String)> {
    field
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (path, sum) = (words.next()?, words.next()?);
            // Obsolete ones belong to an earlier version; `newconffile` has no sum yet.
            let current = words.next().is_none() && sum.len() == 32;
            current.then(|| (PathBuf::from(path), sum.to_owned()))
        })
        .collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "\
Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.21\n
Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nDepends: x | b, awk, py:any\n
Package: b\nStatus: install ok triggers-pending\nArchitecture: amd64\nVersion: 2\nPre-Depends: lib (>= 2)\n
Package: mawk\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nProvides: awk\n
Package: py\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3\n
Package: lib\nStatus: install ok installed\nArchitecture: i386\nMulti-Arch: same\nVersion: 2\n
Package: lib\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 2\n
Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 2\n";

    fn closure(resolution: Resolution) -> Vec<String> {
        let database = Dpkg::parse(SYSTEM, "");
        let root = database.find("a").unwrap();
        let ids = database.closure(&[root], resolution);
        ids.iter()
            .map(|&id| database.packages()[id].to_string())
            .collect()
    }

    #[test]
    fn the_correct_closure_knows_alternatives_and_virtual_packages() {
        let expected = [
            "a_1_amd64",
            "b_2_amd64",
            "lib_2_amd64",
            "mawk_1_amd64",
            "py_3_amd64",
        ];
        assert_eq!(closure(Resolution::Correct), expected);
    }

    #[test]
    fn the_compatible_closure_takes_first_alternatives_only() {
        assert_eq!(closure(Resolution::Compatible), ["a_1_amd64"]);
    }

    #[test]
    fn the_journal_is_newer_than_the_status_file() {
        let status = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n\
            Package: old\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n\
            Package: gone\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n\
            Package: lib\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\n";
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "0000",
                "Package: old\nStatus: install ok unpacked\nArchitecture: amd64\nVersion: 2\n",
            ),
            (
                "0001",
                "Package: old\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\n",
            ),
            (
                "0002",
                "Package: gone\nStatus: purge ok not-installed\nArchitecture: all\n",
            ),
            (
                "0003",
                "Package: lib\nStatus: install ok installed\nArchitecture: i386\nMulti-Arch: same\nVersion: 1\n",
            ),
            (
                "0004",
                "Package: new\nStatus: install ok installed\nArchitecture: all\nVersion: 3\n",
            ),
            ("tmp.i", "Package: half"),
        ] {
            files::write(dir.path().join(name), text).unwrap();
        }
        let database = Dpkg::parse(status, &journal(dir.path()));
        let shown: Vec<String> = database.packages.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "dpkg_1_amd64",
                "old_2_amd64",
                "lib_1_amd64",
                "lib_1_i386",
                "new_3_all"
            ]
        );
        assert_eq!(journal(Path::new("/no/such/directory")), "");
    }

    #[test]
    fn names_mean_the_native_architecture() {
        let database = Dpkg::parse(SYSTEM, "");
        let show = |name: &str| {
            database
                .find(name)
                .map(|id| database.packages()[id].to_string())
        };
        assert_eq!(show("lib").unwrap(), "lib_2_amd64");
        assert_eq!(show("lib:i386").unwrap(), "lib_2_i386");
        assert_eq!(show("gone"), None);
    }
}
