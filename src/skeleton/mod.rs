//! The skeleton, supermin's own `supermin.d`: reading it and writing it.
//!
//! A skeleton is a directory (or several files) of package names, host file
//! patterns, exclude patterns and archives.  File names mean nothing: what a
//! file is shows in its content.

mod archive;
mod cpio;
pub mod from_packages;
pub mod guest;
mod list;
mod prepare;
mod read;
mod sniff;

pub use archive::{Member, pack, unpack};
pub use prepare::{
    DEFAULT_TIMESTAMP, Prepared, Request, prepare, prepare_at, source_timestamp, timestamp, write,
};
pub use read::{host_files, read, read_v4};

use crate::glob::Wildcards;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// What a skeleton says, in the order in which its files were visited.
#[derive(Debug, Clone, Default)]
pub struct Skeleton {
    /// Names of packages; those that a host does not have are ignored there.
    pub packages: Vec<String>,
    /// Patterns for files of the host that belong to no package; absolute.
    pub host_files: Vec<OsString>,
    /// What wildcards mean in them.
    pub wildcards: Wildcards,
    /// Patterns of fnmatch(3), without the leading `-`; a package's path that
    /// matches one is left out.
    pub excludes: Vec<OsString>,
    /// The archives; a later one wins where two have the same path.
    pub images: Vec<BaseImage>,
    /// The files that it was read from.
    pub visited: Vec<Visited>,
    /// What was accepted although supermin refuses or loses it: sentences
    /// without their full stop.
    pub notices: Vec<String>,
}

/// A file of a skeleton, for explanations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visited {
    /// Its path.
    pub path: PathBuf,
    /// What it is, in a few words.
    pub kind: String,
}

/// One tar or cpio file of a skeleton.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Its file name, for explanations.
    pub name: Arc<str>,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it is cpio, which a kernel can read as it is.
    pub is_cpio: bool,
    /// Its members, in order.
    pub members: Vec<Member>,
}
