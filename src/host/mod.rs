//! The machine where an appliance is rehydrated: its distribution and packages.

pub mod dpkg;
mod os_release;
pub mod packages;
pub mod rpm;

pub use os_release::OsRelease;
pub use packages::{
    ConfigFile, ConfigState, Package, PackageDatabase, PackageFile, PackageId, Resolution,
};

use crate::family::Family;
use crate::glob::below;
use crate::{Error, Result, files};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};

/// A host, below a root directory.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    os: OsRelease,
    family: Family,
    database: OnceCell<Box<dyn PackageDatabase>>,
}

impl Host {
    /// Finds out what the system below `root` is: by the `ID` of its
    /// os-release, then by each `ID_LIKE`, then by which package database it has.
    /// Nothing of the database is read yet.
    pub fn detect(root: &Path) -> Result<Self> {
        let mut os = OsRelease::default();
        for path in ["/etc/os-release", "/usr/lib/os-release"] {
            let path = below(root, Path::new(path));
            if path.exists() {
                os = OsRelease::parse(&files::read_text(path)?);
                break;
            }
        }
        let by_database = || {
            let has = |path: &str| below(root, Path::new(path)).exists();
            if has(dpkg::STATUS) {
                Some(Family::Debian)
            } else if rpm::DATABASES.iter().any(|path| has(path)) {
                Some(Family::Fedora)
            } else {
                None
            }
        };
        let family = os.family().or_else(by_database).ok_or_else(|| {
            Error::host(format!(
                "the distribution `{}` is not known, and there is neither a dpkg nor an RPM database",
                os.id
            ))
            .hint("Freezedry works on Debian, Fedora, openSUSE and what derives from them")
        })?;
        Ok(Self {
            root: root.to_owned(),
            os,
            family,
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

    /// Its family of distributions.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its package database, read at the first call.
    pub fn packages(&self) -> Result<&dyn PackageDatabase> {
        if self.database.get().is_none() {
            let database: Box<dyn PackageDatabase> = match self.family {
                Family::Debian => Box::new(dpkg::Dpkg::open(&self.root)?),
                Family::Fedora | Family::Suse => Box::new(rpm::Rpm::open(&self.root)?),
                Family::Arch | Family::Alpine => {
                    return Err(Error::host(format!(
                        "the package database of {} cannot be read yet",
                        self.family
                    ))
                    .hint("use a host with dpkg or RPM"));
                }
            };
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
        let paths: &[&str] = match self.family {
            Family::Debian => &[dpkg::STATUS, dpkg::UPDATES, dpkg::DIVERSIONS],
            _ => &rpm::DATABASES,
        };
        paths
            .iter()
            .map(|path| below(&self.root, Path::new(path)))
            .collect()
    }
}
