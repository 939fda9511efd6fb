//! What the database knows of a package, whatever its format.

use std::cmp::Ordering;
use std::fmt;
use std::path::PathBuf;

/// The bits of rpm's `rpmfileAttrs_e` (`include/rpm/rpmfiles.h`) that matter here.
pub(super) mod attribute {
    pub(in super::super) const RPMFILE_CONFIG: u32 = 1 << 0;
    pub(in super::super) const RPMFILE_GHOST: u32 = 1 << 6;
}

/// The bits of rpm's `rpmsenseFlags_e` (`include/rpm/rpmds.h`) that matter here.
pub(super) mod sense {
    pub(in super::super) const RPMSENSE_LESS: u32 = 1 << 1;
    pub(in super::super) const RPMSENSE_GREATER: u32 = 1 << 2;
    pub(in super::super) const RPMSENSE_EQUAL: u32 = 1 << 3;
    pub(in super::super) const RPMSENSE_SENSEMASK: u32 = 15;
}

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) epoch: u32,
    pub(super) version: String,
    pub(super) release: String,
    /// `(none)`, as rpm shows it, where there is none.
    pub(super) architecture: String,
    /// Whose digests the files have, as OpenPGP (RFC 4880, 9.4) numbers them;
    /// none means MD5.
    pub(super) digest_algorithm: u32,
    pub(super) requires: Vec<Capability>,
    pub(super) provides: Vec<Capability>,
    pub(super) files: Vec<File>,
}

/// A capability with its version bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Capability {
    pub(super) name: String,
    /// Of [`sense`], those of the bound alone.
    pub(super) sense: u32,
    pub(super) version: String,
}

/// A file of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) config: bool,
    /// Named by the package, but not brought by it.
    pub(super) ghost: bool,
    /// Whether it was put on the disk, which is not so for the documentation
    /// where that is not wanted, or for the second of two architectures.
    pub(super) installed: bool,
    /// Of the content, in hexadecimal; only of regular configuration files.
    pub(super) digest: String,
    /// Where it points; only of symlinks that are configuration files.
    pub(super) target: PathBuf,
}

impl File {
    /// A file with `flags` of [`attribute`] and a state of `rpmfileState_e`.
    pub(super) fn new(path: PathBuf, flags: u32, state: u32) -> Self {
        /// `RPMFILE_STATE_NORMAL` and `RPMFILE_STATE_NETSHARED`.
        const INSTALLED: [u32; 2] = [0, 3];
        Self {
            path,
            config: flags & attribute::RPMFILE_CONFIG != 0,
            ghost: flags & attribute::RPMFILE_GHOST != 0,
            installed: INSTALLED.contains(&state),
            ..Self::default()
        }
    }
}

impl Record {
    /// Epoch, version and release in rpm's order of comparison.
    pub(super) fn evr(&self) -> String {
        format!("{}:{}-{}", self.epoch, self.version, self.release)
    }

    /// The newer of two first.
    pub(super) fn newest_first(&self, other: &Self) -> Ordering {
        rpm_version::rpm_evr_compare(&other.evr(), &self.evr())
    }
}

impl Capability {
    /// Whether a version within `self` can be one within `offered`: rpm's
    /// `rpmdsCompare`.
    pub(super) fn overlaps(&self, offered: &Self) -> bool {
        use sense::{RPMSENSE_EQUAL, RPMSENSE_GREATER, RPMSENSE_LESS};
        let bounded = |it: &Self| it.sense != 0 && !it.version.is_empty();
        if !bounded(self) || !bounded(offered) {
            return true;
        }
        let [wanted, has] = [self.sense, offered.sense];
        match compare(&offered.version, &self.version) {
            Ordering::Less => has & RPMSENSE_GREATER != 0 || wanted & RPMSENSE_LESS != 0,
            Ordering::Greater => has & RPMSENSE_LESS != 0 || wanted & RPMSENSE_GREATER != 0,
            Ordering::Equal => {
                wanted & has & (RPMSENSE_EQUAL | RPMSENSE_LESS | RPMSENSE_GREATER) != 0
            }
        }
    }
}

/// As rpm shows it: `name >= version`.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.sense == 0 || self.version.is_empty() {
            return Ok(());
        }
        f.write_str(" ")?;
        for (bit, sign) in [
            (sense::RPMSENSE_LESS, "<"),
            (sense::RPMSENSE_GREATER, ">"),
            (sense::RPMSENSE_EQUAL, "="),
        ] {
            if self.sense & bit != 0 {
                f.write_str(sign)?;
            }
        }
        write!(f, " {}", self.version)
    }
}

/// The order of two EVRs, where a release is compared only if both have one.
fn compare(a: &str, b: &str) -> Ordering {
    let without = |text: &str| text.rsplit_once('-').map_or(text, |(v, _)| v).to_owned();
    if a.contains('-') && b.contains('-') {
        rpm_version::rpm_evr_compare(a, b)
    } else {
        rpm_version::rpm_evr_compare(&without(a), &without(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_overlap_as_in_rpm() {
        let capability = |sense, version: &str| Capability {
            name: "x".into(),
            sense,
            version: version.into(),
        };
        for (wanted, offered, expected) in [
            ((12, "2"), (8, "2-1"), true),
            ((4, "2-1"), (8, "2-1"), false),
            ((2, "1:1"), (8, "5-1"), true),
            ((8, "2-3"), (8, "2-1"), false),
            ((8, "2"), (0, ""), true),
            ((8, "2"), (8, ""), true),
            ((10, "2~rc1"), (8, "2"), false),
            ((12, "2"), (8, "2^git1-1"), true),
            ((12, "1:1"), (8, "9-9"), false),
        ] {
            let [wanted, offered] = [wanted, offered].map(|(s, v)| capability(s, v));
            assert_eq!(
                wanted.overlaps(&offered),
                expected,
                "{wanted:?} {offered:?}"
            );
        }
    }
}
