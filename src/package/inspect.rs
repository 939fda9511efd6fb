//! What a package, a skeleton or an appliance is, and what it would become on
//! this host.

use super::hex;
use super::read::{self, Package, PackagedPath};
use super::verify;
use crate::appliance::{self, Appliance, Request, Standing, kernel};
use crate::host::Host;
use crate::node::Node;
use crate::skeleton::{self, Member, Skeleton};
use crate::{Error, Result, files};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of a file that are enough to know a package.
const HEAD: u64 = 64;

/// A thing, inspected; its serialised form is what `freezedry inspect --json`
/// prints.  Sizes are in bytes, times in seconds since 1970, digests and keys
/// in hexadecimal.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Report {
    /// A `.deb` or `.rpm`.
    Package(Box<PackageReport>),
    /// A `supermin.d`.
    Skeleton(SkeletonReport),
    /// A directory with `kernel`, `initrd` and `root`.
    Appliance(ApplianceReport),
}

/// A package and what is in it.
#[derive(Debug, Clone, Serialize)]
pub struct PackageReport {
    /// The package.
    #[serde(flatten)]
    pub package: Package,
    /// The skeletons in it; one, if it is ours.
    pub skeletons: Vec<SkeletonReport>,
}

/// A skeleton.
#[derive(Debug, Clone, Serialize)]
pub struct SkeletonReport {
    /// Where it lies, or would lie when installed.
    pub path: String,
    /// The names of packages that it asks for.
    pub packages: Vec<String>,
    /// Its patterns of host files.
    pub hostfiles: Vec<String>,
    /// Its patterns of excludes, without the leading `-`.
    pub excludefiles: Vec<String>,
    /// Whether one of its archives has `/init`, which a guest starts with.
    pub init: bool,
    /// Its tar files, by name: their members by path.
    pub archives: BTreeMap<String, BTreeMap<String, PackagedPath>>,
    /// What it would become here.
    pub here: Option<Here>,
    /// Why it cannot become anything here.
    pub not_here: Option<String>,
}

/// What a skeleton would become on this host, with the default options.
#[derive(Debug, Clone, Serialize)]
pub struct Here {
    /// The packages that would go in, with those they depend on, as the
    /// package manager shows them.
    pub packages: Vec<String>,
    /// Packages that the skeleton names and the host does not have.
    pub missing: Vec<String>,
    /// Paths in the root file system.
    pub paths: usize,
    /// Bytes of files in it.
    pub bytes: u64,
    /// Paths that excludes drop.
    pub excluded: usize,
    /// Files that this user may not read; they would be empty.
    pub unreadable: usize,
    /// The kernel's version.
    pub kernel: String,
}

impl SkeletonReport {
    /// Whether it can be a skeleton: almost any text can be read as names of
    /// packages, but no name has a blank in it, or ends with a colon.
    fn asks_for_something(&self) -> bool {
        let odd = |name: &String| name.contains(char::is_whitespace) || name.ends_with(':');
        let lists = [&self.packages, &self.hostfiles, &self.excludefiles];
        let empty = lists.iter().all(|list| list.is_empty()) && self.archives.is_empty();
        !empty && !self.packages.iter().any(odd)
    }
}

/// What to do with a file that cannot be inspected.
fn instead(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => "a description is looked at by `freezedry check`",
        Some("dsc" | "changes" | "buildinfo") => {
            "give the packages that it names; `dscverify` checks its signature and digests"
        }
        _ => "give a .deb or .rpm, a `supermin.d`, or a directory with kernel, initrd and root",
    }
}

/// An appliance.
#[derive(Debug, Clone, Serialize)]
pub struct ApplianceReport {
    /// Its directory.
    pub path: String,
    /// The version that its kernel says of itself.
    pub kernel: Option<String>,
    /// The UUID of its root file system.
    pub uuid: String,
    /// The sizes of its files.
    pub files: BTreeMap<&'static str, FileSizes>,
    /// The digest of what it was made from, if Freezedry made it.
    pub stamp: Option<String>,
    /// The skeleton that it was compared with.
    pub skeleton: Option<String>,
    /// Whether that skeleton with the default options would give the same
    /// appliance here and now: `fresh`, `unaffected` (something has changed,
    /// but nothing that goes in) or `stale`.
    pub standing: Option<Standing>,
}

/// How large a file seems and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FileSizes {
    /// Its length.
    pub apparent: u64,
    /// What it takes on the disk.
    pub real: u64,
}

/// Where and how to look.
#[derive(Debug)]
pub struct Looker<'a> {
    /// The host, if it is one that can be told about.
    pub host: Option<&'a Host>,
    /// Which kernel would be used.
    pub kernel: kernel::Request,
    /// The skeleton of an appliance, where it is not found by its name.
    pub skeleton: Option<PathBuf>,
}

impl Looker<'_> {
    /// Inspects what is at `path`; its content decides what it is.
    pub fn inspect(&self, path: &Path) -> Result<Report> {
        let meta = std::fs::metadata(path).map_err(|e| Error::io("cannot examine", path, e))?;
        if meta.is_dir() {
            let appliance = Appliance::at(path);
            if appliance.root.is_file() && appliance.kernel.is_file() {
                return Ok(Report::Appliance(self.appliance(path, &appliance)?));
            }
        } else {
            let mut head = Vec::new();
            files::open(path)?
                .take(HEAD)
                .read_to_end(&mut head)
                .map_err(|e| Error::io("cannot read", path, e))?;
            if read::format(&head).is_some() {
                return Ok(Report::Package(Box::new(self.package(path)?)));
            }
        }
        let nothing = || {
            Error::input(format!(
                "`{}` is no package and no appliance, and no skeleton either",
                path.display()
            ))
        };
        match self.skeleton(path, &path.display().to_string()) {
            Ok(skeleton) if skeleton.asks_for_something() => Ok(Report::Skeleton(skeleton)),
            Ok(_) => Err(nothing().hint(instead(path))),
            Err(error) => Err(nothing().caused_by(error)),
        }
    }

    fn package(&self, path: &Path) -> Result<PackageReport> {
        let mut package = read::read(path)?;
        verify::check_signatures(&mut package, path)?;
        let mut skeletons = Vec::new();
        for (place, members) in &package.skeletons {
            let scratch = tempfile::tempdir()
                .map_err(|e| Error::io("cannot create a directory in", std::env::temp_dir(), e))?;
            for (name, bytes) in members {
                files::write(scratch.path().join(name), bytes)?;
            }
            skeletons.push(self.skeleton(scratch.path(), place)?);
        }
        Ok(PackageReport { package, skeletons })
    }

    /// The skeleton at `path`, shown as `place`.
    fn skeleton(&self, path: &Path, place: &str) -> Result<SkeletonReport> {
        let Skeleton {
            packages,
            host_files,
            excludes,
            images,
            ..
        } = skeleton::read(&[path.to_owned()])?;
        let (here, not_here) = match self.host.map(|host| self.here(path, host)) {
            None => (None, Some("this host is of no known kind".to_owned())),
            Some(Ok(here)) => (Some(here), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        Ok(SkeletonReport {
            path: place.to_owned(),
            packages,
            hostfiles: texts(host_files),
            excludefiles: texts(excludes),
            init: images
                .iter()
                .flat_map(|image| &image.members)
                .any(|member| member.path == Path::new("/init")),
            archives: images
                .iter()
                .map(|image| (image.name.to_string(), members(&image.members)))
                .collect(),
            here,
            not_here,
        })
    }

    fn request(&self, skeleton: &Path) -> Request {
        Request {
            kernel: self.kernel.clone(),
            ..Request::new(vec![skeleton.to_owned()])
        }
    }

    fn here(&self, skeleton: &Path, host: &Host) -> Result<Here> {
        let (plan, report, kernel) = appliance::explain(&self.request(skeleton), host)?;
        Ok(Here {
            packages: report.packages,
            missing: report.missing,
            paths: plan.entries.len(),
            bytes: plan.entries.iter().map(appliance::plan::Entry::size).sum(),
            excluded: report.excluded.len(),
            unreadable: report.unreadable.len(),
            kernel: kernel.version,
        })
    }

    fn appliance(&self, path: &Path, appliance: &Appliance) -> Result<ApplianceReport> {
        let mut sizes = BTreeMap::new();
        for (name, file) in [
            ("kernel", &appliance.kernel),
            ("initrd", &appliance.initrd),
            ("root", &appliance.root),
        ] {
            let meta = std::fs::metadata(file).map_err(|e| Error::io("cannot examine", file, e))?;
            sizes.insert(
                name,
                FileSizes {
                    apparent: meta.len(),
                    // stat(2) counts in units of 512, whatever the blocks are.
                    real: meta.blocks() * 512,
                },
            );
        }
        let stamp = appliance::stamp(path);
        let skeleton = self.skeleton.clone().or_else(|| skeleton_of(path));
        let standing = match (&stamp, &skeleton, self.host) {
            (Some(stamp), Some(skeleton), Some(host)) => {
                Some(stamp.standing(&self.request(skeleton), host)?)
            }
            _ => None,
        };
        Ok(ApplianceReport {
            path: path.display().to_string(),
            kernel: kernel::version(&appliance.kernel),
            uuid: appliance.uuid()?,
            files: sizes,
            stamp: stamp.map(|stamp| stamp.plan),
            skeleton: skeleton.map(|skeleton| skeleton.display().to_string()),
            standing,
        })
    }
}

/// The installed skeleton of the appliance in the directory `path`, which is
/// called `NAME` or `NAME/appliance`.
fn skeleton_of(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let names = path.iter().rev().take(2);
    names
        .map(|name| {
            Path::new("/usr/share/freezedry")
                .join(name)
                .join("supermin.d")
        })
        .find(|skeleton| skeleton.is_dir())
}

fn texts(names: Vec<OsString>) -> Vec<String> {
    let text = |name: OsString| name.to_string_lossy().into_owned();
    names.into_iter().map(text).collect()
}

fn members(members: &[Member]) -> BTreeMap<String, PackagedPath> {
    let entry = |member: &Member| {
        let (kind, target) = match &member.node {
            Node::File(_) => ("file", None),
            Node::Directory => ("directory", None),
            Node::Symlink(target) => ("symlink", Some(target)),
            Node::HardLink(target) => ("hardlink", Some(target)),
            _ => ("special", None),
        };
        let bytes = match &member.node {
            Node::File(crate::node::Content::Bytes(bytes)) => Some(bytes),
            _ => None,
        };
        PackagedPath {
            kind,
            mode: format!("{:04o}", member.mode),
            owner: member.uid.to_string(),
            group: member.gid.to_string(),
            size: bytes.map_or(0, |bytes| bytes.len() as u64),
            sha256: bytes.map(|bytes| hex(&Sha256::digest(bytes))),
            target: target.map(|target| target.display().to_string()),
            flags: Vec::new(),
        }
    };
    members
        .iter()
        .map(|member| (member.path.display().to_string(), entry(member)))
        .collect()
}
