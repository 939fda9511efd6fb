//! The families of distributions, each with one package format and naming habit.

use std::fmt;

/// A family of distributions that share package names and a package database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Debian, Ubuntu and their derivatives: dpkg.
    Debian,
    /// Fedora, RHEL, CentOS and their derivatives: RPM with dnf.
    Fedora,
    /// openSUSE and SLE: RPM with zypper.
    Suse,
    /// Arch Linux: pacman.
    Arch,
    /// Alpine: apk.
    Alpine,
    /// Any other Linux.  It has no package names of its own: those under `all`
    /// are all it gets.
    Other,
}

impl Family {
    /// Every family that has names of its own, in the order in which lists show them.
    pub const ALL: [Self; 5] = [
        Self::Debian,
        Self::Fedora,
        Self::Suse,
        Self::Arch,
        Self::Alpine,
    ];

    /// The key of this family in a description: `debian`, `fedora`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Fedora => "fedora",
            Self::Suse => "suse",
            Self::Arch => "arch",
            Self::Alpine => "alpine",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
