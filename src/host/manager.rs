//! Which package database a host has.

use super::packages::PackageDatabase;
use super::{apk, dpkg, pacman, plain, rpm};
use crate::family::Family;
use crate::glob::below;
use crate::{Error, Result};
use std::path::Path;

/// The environment variable that overrides what is found: the name of a
/// [`Manager`].
pub const OVERRIDE: &str = "FREEZEDRY_PACKAGES";

/// A package manager, whose database is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Debian's.
    Dpkg,
    /// Fedora's, openSUSE's and many others'.
    Rpm,
    /// Arch's.
    Pacman,
    /// Alpine's.
    Apk,
    /// None that Freezedry knows.
    None,
}

impl Manager {
    /// Those with a database, in the order in which they are looked for.
    const ALL: [Self; 4] = [Self::Dpkg, Self::Rpm, Self::Pacman, Self::Apk];

    /// Its name, as in [`OVERRIDE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
            Self::Pacman => "pacman",
            Self::Apk => "apk",
            Self::None => "none",
        }
    }

    /// What [`OVERRIDE`] says, if it is set to anything.
    pub(super) fn from_environment() -> Result<Option<Self>> {
        match std::env::var_os(OVERRIDE) {
            Some(value) if !value.is_empty() => Self::parse(&value.to_string_lossy()).map(Some),
            _ => Ok(None),
        }
    }

    fn parse(value: &str) -> Result<Self> {
        let mut known = Self::ALL.iter().copied().chain([Self::None]);
        known
            .find(|manager| manager.name() == value)
            .ok_or_else(|| {
                Error::input(format!(
                    "{OVERRIDE} is `{value}`, which is no package database that can be read"
                ))
                .hint("set it to dpkg, rpm, pacman, apk or none, or unset it")
            })
    }

    /// The one whose database is below `root`: of `family` if it has it.
    pub(super) fn detect(root: &Path, family: Family) -> Self {
        let own = Self::ALL.iter().find(|manager| manager.serves(family));
        own.into_iter()
            .chain(&Self::ALL)
            .copied()
            .find(|manager| manager.exists(root))
            .unwrap_or(Self::None)
    }

    /// Whether hosts of `family` have it.
    pub(super) fn serves(self, family: Family) -> bool {
        match self {
            Self::Dpkg => family == Family::Debian,
            Self::Rpm => matches!(family, Family::Fedora | Family::Suse),
            Self::Pacman => family == Family::Arch,
            Self::Apk => family == Family::Alpine,
            Self::None => family == Family::Other,
        }
    }

    /// The family whose package names its packages have, where nothing else is known.
    pub(super) fn family(self) -> Family {
        match self {
            Self::Dpkg => Family::Debian,
            Self::Rpm => Family::Fedora,
            Self::Pacman => Family::Arch,
            Self::Apk => Family::Alpine,
            Self::None => Family::Other,
        }
    }

    /// Whether there is a database below `root`; one without packages does not
    /// count, since it may come with the mere program.
    fn exists(self, root: &Path) -> bool {
        let mut paths = self.paths().iter();
        paths.any(|path| {
            let path = below(root, Path::new(path));
            match path.metadata() {
                Ok(meta) if meta.is_dir() => path.read_dir().is_ok_and(|mut entries| {
                    entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir()))
                }),
                Ok(meta) => meta.len() > 0,
                Err(_) => false,
            }
        })
    }

    /// The files that change when packages do; they need not all exist.
    pub(super) fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Dpkg => &[dpkg::STATUS, dpkg::UPDATES, dpkg::DIVERSIONS],
            Self::Rpm => &rpm::DATABASES,
            Self::Pacman => &[pacman::LOCAL],
            Self::Apk => &[apk::INSTALLED],
            Self::None => &[],
        }
    }

    pub(super) fn open(self, root: &Path) -> Result<Box<dyn PackageDatabase>> {
        Ok(match self {
            Self::Dpkg => Box::new(dpkg::Dpkg::open(root)?),
            Self::Rpm => Box::new(rpm::Rpm::open(root)?),
            Self::Pacman => Box::new(pacman::Pacman::open(root)?),
            Self::Apk => Box::new(apk::Apk::open(root)?),
            Self::None => Box::new(plain::Plain),
        })
    }
}

/// Files that say where a system comes from that says it in no os-release that
/// is understood.
const RELEASE_FILES: [(&str, Family); 12] = [
    ("/etc/debian_version", Family::Debian),
    ("/etc/fedora-release", Family::Fedora),
    ("/etc/SuSE-release", Family::Suse),
    ("/etc/mageia-release", Family::Fedora),
    ("/etc/openmandriva-release", Family::Fedora),
    ("/etc/openEuler-release", Family::Fedora),
    ("/etc/anolis-release", Family::Fedora),
    ("/etc/kylin-release", Family::Fedora),
    ("/etc/UnionTech-release", Family::Fedora),
    ("/etc/redhat-release", Family::Fedora),
    ("/etc/arch-release", Family::Arch),
    ("/etc/alpine-release", Family::Alpine),
];

/// The family by release files.
pub(super) fn family_by_files(root: &Path) -> Option<Family> {
    let there = |path: &str| below(root, Path::new(path)).is_file();
    let mut files = RELEASE_FILES.iter();
    files
        .find(|(path, _)| there(path))
        .map(|(_, family)| *family)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use crate::host::Host;

    /// What is found in a root with these files.
    fn found(content: &[(&str, &str)], manager: Option<Manager>) -> (Family, Manager) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in content {
            let path = below(root.path(), Path::new(path));
            files::create_dir_all(path.parent().unwrap()).unwrap();
            files::write(path, text).unwrap();
        }
        let host = Host::with(root.path(), manager).unwrap();
        (host.family(), host.manager())
    }

    #[test]
    fn what_a_system_says_goes_before_what_it_has() {
        const DPKG: (&str, &str) = (dpkg::STATUS, "Package: x\n");
        const RPM: (&str, &str) = ("/var/lib/rpm/rpmdb.sqlite", "SQLite");
        const PACMAN: (&str, &str) = ("/var/lib/pacman/local/x-1-1/desc", "");
        const APK: (&str, &str) = (apk::INSTALLED, "P:x\n");
        let os = |text| ("/etc/os-release", text);
        for (content, family, manager) in [
            (
                vec![os("ID=debian\n"), DPKG, RPM],
                Family::Debian,
                Manager::Dpkg,
            ),
            (
                vec![os("ID=fedora\n"), DPKG, RPM],
                Family::Fedora,
                Manager::Rpm,
            ),
            (
                vec![os("ID=manjaro\nID_LIKE=arch\n"), PACMAN],
                Family::Arch,
                Manager::Pacman,
            ),
            (vec![os("ID=sles\n"), RPM], Family::Suse, Manager::Rpm),
            // apt on top of RPM; an image that lost its database.
            (vec![os("ID=altlinux\n"), RPM], Family::Fedora, Manager::Rpm),
            (vec![os("ID=debian\n"), APK], Family::Alpine, Manager::Apk),
            (vec![os("ID=debian\n")], Family::Debian, Manager::None),
            // Derivatives that only a release file tells.
            (
                vec![("/etc/SuSE-release", ""), RPM],
                Family::Suse,
                Manager::Rpm,
            ),
            (
                vec![os("ID=mine\n"), ("/etc/anolis-release", ""), RPM, DPKG],
                Family::Fedora,
                Manager::Rpm,
            ),
            // A program of another family has been installed, but no package with it.
            (
                vec![os("ID=void\n"), (dpkg::STATUS, "")],
                Family::Other,
                Manager::None,
            ),
            (vec![], Family::Other, Manager::None),
        ] {
            assert_eq!(found(&content, None), (family, manager), "{content:?}");
        }
        let content = [os("ID=debian\n"), DPKG, RPM];
        for (wanted, family) in [
            (Manager::Rpm, Family::Fedora),
            (Manager::Dpkg, Family::Debian),
            (Manager::None, Family::Debian),
        ] {
            assert_eq!(found(&content, Some(wanted)), (family, wanted));
        }
    }

    #[test]
    fn a_wrong_override_is_an_error_that_names_the_right_ones() {
        let error = Manager::parse("deb").unwrap_err();
        assert_eq!(
            error.to_string(),
            "FREEZEDRY_PACKAGES is `deb`, which is no package database that can be read"
        );
        assert!(
            error
                .advice()
                .unwrap()
                .contains("dpkg, rpm, pacman, apk or none")
        );
        assert_eq!(Manager::parse("none").unwrap(), Manager::None);
    }

    #[test]
    fn without_a_database_there_are_no_packages() {
        let database = Manager::None.open(Path::new("/")).unwrap();
        assert!(database.packages().is_empty());
        assert_eq!(database.find("bash"), None);
    }
}
