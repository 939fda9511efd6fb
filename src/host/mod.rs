//! The machine where an appliance is rehydrated: its distribution and packages.

pub mod apk;
mod checksum;
mod digits;
pub mod download;
pub mod dpkg;
mod manager;
mod os_release;
pub mod packages;
pub mod pacman;
mod plain;
mod relation;
pub mod rpm;

pub use manager::{Manager, OVERRIDE};
pub use os_release::OsRelease;
pub use packages::{
    ConfigFile, ConfigState, Package, PackageDatabase, PackageFile, PackageId, Resolution,
};

use crate::family::Family;
use crate::glob::below;
use crate::{Error, Result, files};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};

/// supermin's names of the package databases it knows, in its order.
pub const DRIVERS: [&str; 7] = [
    "arch/pacman",
    "debian/dpkg",
    "openmandriva/rpm",
    "mageia/rpm",
    "opensuse/rpm",
    "ibm_powerkvm/rpm",
    "fedora/rpm",
];

/// A host, below a root directory.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    os: OsRelease,
    family: Family,
    manager: Manager,
    database: OnceCell<Box<dyn PackageDatabase>>,
}

impl Host {
    /// Finds out what the system below `root` is: by the `ID` of its
    /// os-release, then by each `ID_LIKE`, then by release files, then by which
    /// package database it has.  The environment variable [`OVERRIDE`] names the
    /// database to read; without it, that of the family if it is there, else the
    /// one that is.  Nothing of the database is read yet.
    pub fn detect(root: &Path) -> Result<Self> {
        Self::with(root, Manager::from_environment()?)
    }

    /// As [`Host::detect`], with the package database to read, if it is known.
    pub fn with(root: &Path, manager: Option<Manager>) -> Result<Self> {
        let mut os = OsRelease::default();
        for path in ["/etc/os-release", "/usr/lib/os-release"] {
            let path = below(root, Path::new(path));
            if path.exists() {
                os = OsRelease::parse(&files::read_text(path)?);
                break;
            }
        }
        let mut family = os
            .family()
            .or_else(|| manager::family_by_files(root))
            .unwrap_or(Family::Other);
        let manager = manager.unwrap_or_else(|| Manager::detect(root, family));
        // Package names are those of the database, whatever the system says.
        if manager != Manager::None && !manager.serves(family) {
            family = manager.family();
        }
        Ok(Self {
            root: root.to_owned(),
            os,
            family,
            manager,
            database: OnceCell::new(),
        })
    }

    /// The directory that is `/` of this host.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What its os-release says.
    pub fn os(&self) -> &OsRelease {
        &self.os
    }

    /// Its family of distributions, whose package names it understands.
    pub fn family(&self) -> Family {
        self.family
    }

    /// supermin's name of its package database: one of [`DRIVERS`], or one in
    /// their manner.
    pub fn driver(&self) -> &'static str {
        match (self.manager, self.os.id.as_str()) {
            (Manager::Dpkg, _) => "debian/dpkg",
            (Manager::Pacman, _) => "arch/pacman",
            (Manager::Rpm, "mageia") => "mageia/rpm",
            (Manager::Rpm, "openmandriva") => "openmandriva/rpm",
            (Manager::Rpm, _) if self.family == Family::Suse => "opensuse/rpm",
            (Manager::Rpm, _) => "fedora/rpm",
            (Manager::Apk, _) => "alpine/apk",
            (Manager::None, _) => "plain/files",
        }
    }

    /// The package manager whose database it has.
    pub fn manager(&self) -> Manager {
        self.manager
    }

    /// Its package database, read at the first call.
    pub fn packages(&self) -> Result<&dyn PackageDatabase> {
        if self.database.get().is_none() {
            let database = self.manager.open(&self.root)?;
            // Nobody else can have set it: the cell is not shared between threads.
            let _ = self.database.set(database);
        }
        self.database
            .get()
            .map(AsRef::as_ref)
            .ok_or_else(|| Error::host("the package database could not be kept"))
    }

    /// Files whose change means that packages may have changed.
    pub fn database_paths(&self) -> Vec<PathBuf> {
        let paths = self.manager.paths().iter();
        paths
            .map(|path| below(&self.root, Path::new(path)))
            .collect()
    }
}
