//! What every package database can tell.

use super::checksum;
use crate::Result;
use std::fmt;
use std::path::{Path, PathBuf};

/// An installed package: its index in [`PackageDatabase::packages`].
pub type PackageId = usize;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name, without architecture.
    pub name: String,
    /// Its full version, as the package manager shows it.
    pub version: String,
    /// Its architecture, as the package manager spells it.
    pub architecture: String,
    /// What separates the three when it is shown, as supermin does:
    /// `name_version_arch` for dpkg, `name-version.arch` for RPM.
    pub(super) separators: [char; 2],
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.separators;
        let Self {
            name,
            version,
            architecture,
            ..
        } = self;
        write!(f, "{name}{first}{version}{second}{architecture}")
    }
}

/// How dependencies are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// As supermin 5 does: on dpkg only the first alternative, and no virtual
    /// packages; on RPM no versions and no rich dependencies.
    Compatible,
    /// As the package manager does.
    Correct,
}

/// A path that a package owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Where it belongs in an appliance, as the database spells it.
    pub path: PathBuf,
    /// Where it lies on the host now; differs from `path` where it is diverted.
    pub source: PathBuf,
    /// Its owner.
    pub package: PackageId,
    /// Whether it counts as a configuration file, which is never taken from
    /// the host unseen.
    pub config: bool,
}

/// What has become of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigState {
    /// As its package has it.
    Pristine,
    /// Somebody changed it.
    Edited,
    /// Somebody removed it.
    Missing,
    /// This user may not read it.
    Unreadable,
    /// Its package recorded a digest that this program cannot compute, so that
    /// nobody knows.
    Unverifiable,
    /// Its package brings no content of it: an RPM `%ghost`.
    Ghost,
}

/// A configuration file that its package brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// What has become of it.
    pub state: ConfigState,
}

/// A database of installed packages.
pub trait PackageDatabase: fmt::Debug {
    /// Every installed package.
    fn packages(&self) -> &[Package];

    /// The package that `name` means.
    fn find(&self, name: &str) -> Option<PackageId>;

    /// The packages that have `name` as another name: that provide it, or have
    /// replaced a package called so.
    fn known_as(&self, _name: &str) -> Vec<PackageId> {
        Vec::new()
    }

    /// The packages that every system of the kind has, so that nothing depends
    /// on them.
    fn essential(&self) -> Vec<PackageId> {
        Vec::new()
    }

    /// The package that `name` means under `resolution`.
    fn find_as(&self, name: &str, _resolution: Resolution) -> Option<PackageId> {
        self.find(name)
    }

    /// `roots` and everything they depend on, in the order of the names.
    fn closure(&self, roots: &[PackageId], resolution: Resolution) -> Vec<PackageId>;

    /// The paths of `packages`, sorted, each once.
    fn files(&self, packages: &[PackageId]) -> Result<Vec<PackageFile>>;

    /// The configuration files of `packages`, sorted, each once.
    fn config_files(&self, packages: &[PackageId]) -> Result<Vec<ConfigFile>>;

    /// The checksum of the configuration file `path` as `package` brought it, in
    /// hexadecimal: an MD5, SHA-1 or SHA-256 by its length.
    fn digest(&self, package: PackageId, path: &Path) -> Result<Option<String>>;
}

impl PackageFile {
    /// A path that lies where its package thinks, of a database that does not
    /// say what is a configuration file.
    pub(super) fn plain(root: &Path, path: PathBuf, package: PackageId) -> Self {
        Self {
            config: checksum::is_config(root, &path),
            source: path.clone(),
            path,
            package,
        }
    }
}

/// `items` sorted by their paths; of several with one path the first.
pub(super) fn once_each<T>(mut items: Vec<T>, path: impl Fn(&T) -> &PathBuf) -> Vec<T> {
    items.sort_by(|a, b| path(a).cmp(path(b)));
    items.dedup_by(|later, first| path(later) == path(first));
    items
}

/// Everything reachable from `roots` over `next`, sorted by name.
pub(super) fn reachable(
    packages: &[Package],
    roots: &[PackageId],
    mut next: impl FnMut(PackageId, &[bool]) -> Vec<PackageId>,
) -> Vec<PackageId> {
    let mut seen = vec![false; packages.len()];
    let mut queue = Vec::new();
    for &id in roots {
        if !std::mem::replace(&mut seen[id], true) {
            queue.push(id);
        }
    }
    // Breadth first, so that what is asked for directly is chosen before what
    // only a dependency of a dependency wants.
    let mut at = 0;
    while at < queue.len() {
        for id in next(queue[at], &seen) {
            if !std::mem::replace(&mut seen[id], true) {
                queue.push(id);
            }
        }
        at += 1;
    }
    queue.sort_by(|&a, &b| packages[a].name.cmp(&packages[b].name).then(a.cmp(&b)));
    queue
}
