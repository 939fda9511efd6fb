//! What `supermin-helper` of supermin 4 makes: a kernel and either one big
//! initrd, or an initrd and an ext2 image, of base images and host files.
//!
//! Other than there, packages of a skeleton of supermin 5 go in as well, and
//! outputs are made beside their places and renamed when all are whole.

mod hostfiles;

pub use hostfiles::{Excluded, HostFiles, Names, host_files};

use super::host_entries;
use super::image::{cpio, ext2, sink};
use super::kernel::{self, Selection};
use super::modules::Index;
use super::plan::{Entry, Origin, Plan};
use super::planner::{self, Options, Report, Unreadable};
use super::{cache::Scratch, initrd, rehydrate, stamp::Fingerprint};
use crate::glob::Pattern;
use crate::host::Host;
use crate::node::{Content, Node};
use crate::skeleton;
use crate::{Error, Result, files};
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The modules that supermin 4 loads before the root file system is there.
const MODULES: &[&str] = &[
    "ext2",
    "ext4",
    "virtio",
    "virtio_[!g]*", // all but the graphics adapter
    "virtiofs",
    "ide*",
    "libata*",
    "piix*",
    "scsi_transport_spi",
    "scsi_mod",
    "sd_mod",
    "sr_mod",
    "sym53c8xx",
    "ata_piix",
    "mbcache",
    "crc*",
    "libcrc*",
    "ibmvscsic",
    "ibmvscsi",
    "megaraid*",
];

/// What to make an appliance of.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The skeleton: directories or files.
    pub skeleton: Vec<PathBuf>,
    /// The kernel that `SUPERMIN_KERNEL` and `SUPERMIN_MODULES` name.
    pub kernel: kernel::Request,
    /// The processor that the caller names; part of the checksum.
    pub cpu: OsString,
    /// If given, only modules whose file name matches one of these go in.
    pub whitelist: Option<Vec<Pattern>>,
    /// `SUPERMIN_DTB`: the device tree.
    pub device_tree: Option<PathBuf>,
    /// A wildcard for the device tree in `/boot/dtb-VERSION`.
    pub device_tree_name: Option<OsString>,
}

/// An appliance of which nothing is written yet.
#[derive(Debug)]
pub struct Prepared {
    /// The kernel, and those that were not taken.
    pub selection: Selection,
    /// The device tree, if one is asked for.
    pub device_tree: Option<PathBuf>,
    /// What goes in.
    pub plan: Plan,
    /// What was left out.
    pub report: Report,
    cpu: OsString,
    /// The base images that a kernel can read as they are.
    archives: Vec<(Arc<str>, PathBuf)>,
}

/// Where outputs go; what is `None` is not made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The kernel.
    pub kernel: Option<PathBuf>,
    /// The device tree.
    pub device_tree: Option<PathBuf>,
    /// The initrd; without `appliance` it holds everything.
    pub initrd: Option<PathBuf>,
    /// The ext2 image.
    pub appliance: Option<PathBuf>,
}

/// The lines of a whitelist of modules, as patterns.
pub fn whitelist(path: &Path) -> Result<Vec<Pattern>> {
    files::read(path)?
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .map(|line| Pattern::new(OsStr::from_bytes(line)))
        .collect()
}

/// Makes the plan for `request`.
pub fn prepare(request: &Request, host: &Host) -> Result<Prepared> {
    let selection = choose_kernel(request, host)?;
    let device_tree = device_tree(request, host, &selection.kernel.image)?;
    let skeleton = skeleton::read_v4(&request.skeleton)?;
    let modules = &selection.kernel.modules;
    // At their own path, wherever that is.
    let inside = std::path::absolute(modules)
        .map_err(|e| Error::io("cannot find the directory of", modules, e))?;
    let mut tree = host_entries::host_tree(&inside, modules, &Origin::Module)?;
    if let Some(whitelist) = &request.whitelist {
        tree.retain(|entry| is_wanted(entry, whitelist));
    }
    let (plan, report) = planner::plan(&skeleton, host, tree, Options::SUPERMIN)?;
    require_readable(&report)?;
    let images = skeleton.images.into_iter();
    let archives = images.filter(|image| image.is_cpio);
    Ok(Prepared {
        selection,
        device_tree,
        plan,
        report,
        cpu: request.cpu.clone(),
        archives: archives.map(|image| (image.name, image.path)).collect(),
    })
}

fn choose_kernel(request: &Request, host: &Host) -> Result<Selection> {
    let wanted = &request.kernel;
    let Some(image) = &wanted.image else {
        // Without a kernel of their own there are no modules of their own.
        return kernel::choose(host.root(), &kernel::Request::default());
    };
    if !image.is_file() {
        return Err(Error::input(format!(
            "`{}` in SUPERMIN_KERNEL is no regular file",
            image.display()
        ))
        .hint("correct SUPERMIN_KERNEL, or unset it to have a kernel chosen"));
    }
    kernel::choose(host.root(), wanted)
}

/// The device tree that is asked for: in `/boot/dtb-VERSION` for the kernel
/// `vmlinuz-VERSION`.
fn device_tree(request: &Request, host: &Host, kernel: &Path) -> Result<Option<PathBuf>> {
    let Some(name) = &request.device_tree_name else {
        return Ok(None);
    };
    if let Some(path) = &request.device_tree {
        return Ok(Some(path.clone()));
    }
    let hint = "set SUPERMIN_DTB to the file of a device tree";
    let version = kernel
        .file_name()
        .and_then(|name| name.as_bytes().strip_prefix(b"vmlinuz-"))
        .ok_or_else(|| {
            let kernel = kernel.display();
            Error::host(format!(
                "the directory of device trees for `{kernel}` is not known, as it is no `vmlinuz-VERSION`"
            ))
            .hint(hint)
        })?;
    let mut directory = OsString::from("dtb-");
    directory.push(OsStr::from_bytes(version));
    let directory = crate::glob::below(host.root(), Path::new("/boot")).join(directory);
    let pattern = Pattern::new(name)?;
    let cannot = |e| Error::io("cannot list the device trees in", &directory, e).hint(hint);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if pattern.matches(entry.file_name()) {
            found.push(entry.path());
        }
    }
    found.sort();
    let first = found.into_iter().next().ok_or_else(|| {
        Error::host(format!(
            "no device tree in `{}` matches `{}`",
            directory.display(),
            name.display()
        ))
        .hint(hint)
    })?;
    Ok(Some(first))
}

/// Whether an entry below the modules is no module, or one of `whitelist`,
/// with or without the suffix of its compression.
fn is_wanted(entry: &Entry, whitelist: &[Pattern]) -> bool {
    let name = entry.path.file_name().unwrap_or_default().as_bytes();
    let Some(end) = name.windows(3).rposition(|part| part == b".ko") else {
        return true;
    };
    let plain = OsStr::from_bytes(&name[..end + 3]);
    let name = OsStr::from_bytes(name);
    entry.node == Node::Directory
        || whitelist
            .iter()
            .any(|pattern| pattern.matches(name) || pattern.matches(plain))
}

/// A host file that this user may not read ends everything, as in supermin 4:
/// nobody would notice that it is empty.
fn require_readable(report: &Report) -> Result<()> {
    let named = |file: &&Unreadable| !matches!(file.origin, Origin::Package(_));
    match report.unreadable.iter().find(named) {
        None => Ok(()),
        Some(file) => Err(Error::host(format!(
            "you may not read the host file `{}`",
            file.path.display()
        ))
        .hint("run this as a user who may, or take it out of the skeleton's host files")),
    }
}

impl Prepared {
    /// What the appliance depends on, a line each, sorted: everything that
    /// would make it another one if it changed.
    pub fn checksum_lines(&self) -> Vec<Vec<u8>> {
        let kernel = &self.selection.kernel;
        let mut lines = Vec::with_capacity(self.plan.entries.len() + 2);
        lines.push(
            format!(
                "freezedry {} {} {} {}",
                env!("CARGO_PKG_VERSION"),
                self.cpu.display(),
                kernel.modules.display(),
                rustix::process::geteuid().as_raw()
            )
            .into_bytes(),
        );
        let files = self.device_tree.iter().chain([&kernel.image]);
        lines.extend(files.map(|path| line(path, &identity(path))));
        for entry in &self.plan.entries {
            let what = match &entry.node {
                Node::File(Content::Host(file)) => {
                    let (seconds, nanoseconds) = file.changed;
                    let (inode, size) = (file.inode, file.size);
                    format!("{inode} {size} {seconds}.{nanoseconds} {}", entry.mtime)
                }
                Node::File(Content::Bytes(bytes)) => hex(&Sha256::digest(bytes)),
                node => format!("{node:?}"),
            };
            let (uid, gid, mode) = (entry.uid, entry.gid, entry.mode);
            let rest = format!("{uid} {gid} {mode:o} {what}");
            lines.push(line(&entry.path, &rest));
        }
        lines.sort();
        lines
    }

    /// The SHA-256 of [`Self::checksum_lines`], 64 hexadecimal digits.
    pub fn checksum(&self) -> String {
        let mut digest = Sha256::new();
        for line in self.checksum_lines() {
            digest.update(line);
            digest.update(b"\n");
        }
        hex(&digest.finalize())
    }

    /// Makes `outputs`, each at once when all are whole; a symlink to the
    /// kernel and the device tree, or copies of them.
    pub fn write(&self, outputs: &Outputs, copy_kernel: bool) -> Result<()> {
        let mut made = Vec::new();
        let kernel = &self.selection.kernel.image;
        let given = [
            (outputs.kernel.as_ref(), Some(kernel)),
            (outputs.device_tree.as_ref(), self.device_tree.as_ref()),
        ];
        for (output, source) in given {
            if let (Some(output), Some(source)) = (output, source) {
                let new = New::beside(output)?;
                if let Some(bytes) = kernel::decompressed(source)? {
                    files::write(&new.path, bytes)?;
                    new.set_mode(0o644)?;
                } else if copy_kernel {
                    copy(files::open(source)?, &new.path, source)?;
                    new.set_mode(0o644)?;
                } else {
                    let target = std::path::absolute(source)
                        .map_err(|e| Error::io("cannot find the directory of", source, e))?;
                    std::os::unix::fs::symlink(target, &new.path)
                        .map_err(|e| Error::io("cannot make a link for", output, e))?;
                }
                made.push(new);
            }
        }
        // Only root may read on the host what only root may read here.
        let secret = self.plan.entries.iter().any(rehydrate::is_secret);
        let mode = if secret { 0o600 } else { 0o644 };
        if let Some(output) = &outputs.initrd {
            let new = New::beside(output)?;
            if outputs.appliance.is_some() {
                files::write(&new.path, self.small_initrd()?)?;
                new.set_mode(0o644)?;
            } else {
                self.big_initrd(&new.path)?;
                new.set_mode(mode)?;
            }
            made.push(new);
        }
        if let Some(output) = &outputs.appliance {
            let new = New::beside(output)?;
            self.ext2(&new.path)?;
            new.set_mode(mode)?;
            made.push(new);
        }
        made.into_iter().try_for_each(New::publish)
    }

    /// Modules, and PID 1 that mounts the root file system.
    fn small_initrd(&self) -> Result<Vec<u8>> {
        let index = Index::load(&self.selection.kernel.modules)?;
        initrd::build(&index.closure(MODULES)?.files)
    }

    fn ext2(&self, path: &Path) -> Result<()> {
        let mut print = Fingerprint::default();
        print.plan(&self.plan).add(self.cpu.as_bytes());
        let options = ext2::Options {
            uuid: rehydrate::uuid(&print.bytes()),
            size: None,
            timestamp: 0,
        };
        sink::write(&ext2::layout(&self.plan, &options)?, path)
    }

    /// The base images byte for byte, then everything else as one archive.
    fn big_initrd(&self, path: &Path) -> Result<()> {
        let file = files::create(path)?;
        let mut archive = cpio::Archive::new(BufWriter::with_capacity(1 << 18, file), path);
        for (_, image) in &self.archives {
            archive.add_archive(&mut files::open(image)?, image)?;
        }
        let is_inside = |entry: &&Entry| match &entry.origin {
            // The name of each image is one allocation, and so tells two
            // files of the same name apart.
            Origin::BaseImage(name) => !self.archives.iter().any(|(n, _)| Arc::ptr_eq(n, name)),
            _ => true,
        };
        let rest: Vec<&Entry> = self.plan.entries.iter().filter(is_inside).collect();
        archive.add_entries(&rest)?;
        let out = archive.finish()?;
        out.into_inner()
            .map_err(|e| Error::io("cannot write", path, e.into_error()))?;
        Ok(())
    }
}

/// Which file is at `path` now.
fn identity(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(meta) => format!(
            "{} {} {}.{} {}.{}",
            meta.ino(),
            meta.size(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.mtime(),
            meta.mtime_nsec()
        ),
        Err(_) => "absent".into(),
    }
}

fn line(path: &Path, rest: &str) -> Vec<u8> {
    [path.as_os_str().as_bytes(), b" ", rest.as_bytes()].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn copy(mut from: std::fs::File, to: &Path, source: &Path) -> Result<()> {
    let mut out = files::create(to)?;
    std::io::copy(&mut from, &mut out)
        .and_then(|_| out.flush())
        .map_err(|e| Error::io("cannot copy", source, e))
}

/// An output that is not in its place yet.
struct New {
    /// Removed, with what is left in it, when this goes.
    _scratch: Scratch,
    path: PathBuf,
    output: PathBuf,
}

impl New {
    fn beside(output: &Path) -> Result<Self> {
        let there = output.symlink_metadata();
        if there.is_ok_and(|meta| !meta.is_file() && !meta.is_symlink()) {
            return Err(Error::input(format!(
                "the output `{}` exists and is no regular file",
                output.display()
            ))
            .hint("name a file, or use -o for a directory"));
        }
        let scratch = Scratch::beside(output)?;
        Ok(Self {
            path: scratch.path().join("new"),
            _scratch: scratch,
            output: output.to_owned(),
        })
    }

    /// Takes away what `mode` does not have; what the umask took stays away.
    fn set_mode(&self, mode: u32) -> Result<()> {
        let cannot = |e| Error::io("cannot set the mode of", &self.path, e);
        let there = std::fs::metadata(&self.path).map_err(cannot)?.mode();
        std::fs::set_permissions(&self.path, PermissionsExt::from_mode(there & mode))
            .map_err(cannot)
    }

    fn publish(self) -> Result<()> {
        files::rename(&self.path, &self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::tree::directory;

    #[test]
    fn a_whitelist_is_about_modules_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whitelist");
        files::write(&path, "virtio*.ko\n\nxfs.ko\r\n").unwrap();
        let whitelist = whitelist(&path).unwrap();
        assert_eq!(whitelist.len(), 2);
        let wanted = |path: &str| {
            let node = Node::File(Content::Bytes(Arc::from([])));
            let entry = Entry {
                node,
                ..directory(path.into(), Origin::Module)
            };
            is_wanted(&entry, &whitelist)
        };
        for path in ["/m/virtio_net.ko", "/m/xfs.ko.xz", "/m/modules.dep", "/m/x"] {
            assert!(wanted(path), "{path}");
        }
        for path in ["/m/ext4.ko", "/virtio/ext4.ko.zst"] {
            assert!(!wanted(path), "{path}");
        }
        let directory = directory("/m/odd.ko".into(), Origin::Module);
        assert!(is_wanted(&directory, &whitelist));
    }
}
