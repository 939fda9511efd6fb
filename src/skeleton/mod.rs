//! The skeleton, supermin's own `supermin.d`: reading it and writing it.
//!
//! A skeleton is a directory (or several files) of package names, host file
//! patterns, exclude patterns and tar files.  File names mean nothing: what a
//! file is shows in its content.

mod archive;
pub mod from_packages;
pub mod guest;
mod prepare;
mod read;
mod sniff;

pub use archive::{Member, pack, unpack};
pub use prepare::{DEFAULT_TIMESTAMP, Prepared, Request, prepare, timestamp, write};
pub use read::read;

use std::path::PathBuf;
use std::sync::Arc;

/// What a skeleton says, in the order in which its files were visited.
#[derive(Debug, Clone, Default)]
pub struct Skeleton {
    /// Names of packages; those that a host does not have are ignored there.
    pub packages: Vec<String>,
    /// Patterns of glob(3) for files of the host that belong to no package.
    pub host_files: Vec<String>,
    /// Patterns of fnmatch(3), without the leading `-`; a package's path that
    /// matches one is left out.
    pub excludes: Vec<String>,
    /// The tar files; a later one wins where two have the same path.
    pub images: Vec<BaseImage>,
    /// The files that it was read from.
    pub visited: Vec<Visited>,
}

/// A file of a skeleton, for explanations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visited {
    /// Its path.
    pub path: PathBuf,
    /// What it is, in a few words.
    pub kind: String,
}

/// One tar file of a skeleton.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Its file name, for explanations.
    pub name: Arc<str>,
    /// Its members, in order.
    pub members: Vec<Member>,
}
