//! From skeleton and host to the three files of an appliance.

use super::cache::{self, Scratch};
use super::freshness::inputs;
use super::host_entries;
use super::image::chroot::{self, Skipped};
use super::image::{ext2, sink};
use super::kernel::{self, Kernel};
use super::modules::{self, Index};
use super::plan::{Entry, Origin, Plan};
use super::planner::{self, Options, Report};
use super::readers::{Gate, Readers};
use super::stamp::{Fingerprint, Stamp};
use super::{Appliance, STAMP, initrd};
use crate::host::Host;
use crate::node::{Content, Node};
use crate::{Error, Result, files, skeleton};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What to rehydrate, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The skeleton: directories or files.
    pub skeleton: Vec<PathBuf>,
    /// How the plan is made.
    pub options: Options,
    /// Kernel modules that the initrd loads if the kernel has them; patterns
    /// of fnmatch(3) are fine.  [`modules::NATIVE`] is what our own machines need.
    pub drivers: &'static [&'static str],
    /// Kernel modules beyond `drivers`: their names, loaded before the root
    /// file system is mounted.
    pub modules: Vec<String>,
    /// Whether the whole of `/lib/modules/VERSION` goes in.
    pub all_modules: bool,
    /// Which kernel.
    pub kernel: kernel::Request,
    /// Whether the kernel is only linked to.  Copied, an appliance survives the
    /// kernel's removal, and virtualisation daemons can relabel it.
    pub link_kernel: bool,
    /// The size of the root file system in bytes; `None` for 4 GiB, sparse.
    pub size: Option<u64>,
}

impl Request {
    /// Our own appliance of `skeleton`, with the best kernel there is.
    pub fn new(skeleton: Vec<PathBuf>) -> Self {
        Self {
            skeleton,
            options: Options::default(),
            drivers: modules::NATIVE,
            modules: Vec::new(),
            all_modules: false,
            kernel: kernel::Request::default(),
            link_kernel: false,
            size: None,
        }
    }
}

/// What was made, and what the user may want to know about it.
#[derive(Debug)]
pub struct Rehydration {
    /// The kernel that was chosen.
    pub kernel: Kernel,
    /// Kernels that were looked at and not chosen, each with the reason.
    pub rejected: Vec<String>,
    /// What the plan is made of and what was left out.
    pub report: Report,
    /// Sizes.
    pub statistics: Statistics,
}

/// How much was moved to make an appliance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Paths in the root file system.
    pub entries: usize,
    /// Bytes of files in it.
    pub bytes: u64,
    /// Kernel modules in the initrd.
    pub modules: usize,
}

/// Everything that is known before anything is written.
#[derive(Debug)]
pub struct Prepared {
    /// What goes into the root file system.
    pub plan: Plan,
    /// What the plan is made of and what was left out.
    pub report: Report,
    /// The kernel, and those that were not taken.
    pub selection: kernel::Selection,
    /// Kernel modules in the initrd.
    pub modules: usize,
    initrd: Vec<u8>,
    pub(super) fingerprint: Fingerprint,
    /// Of all that was looked at, from before it was looked at: a change in
    /// between makes the appliance look outdated, not fresh.
    pub(super) inputs: String,
}

/// The plan that [`make`] would carry out, without carrying it out.
pub fn explain(request: &Request, host: &Host) -> Result<(Plan, Report, Kernel)> {
    let prepared = prepare(request, host)?;
    Ok((prepared.plan, prepared.report, prepared.selection.kernel))
}

/// The plan alone, for which no kernel is needed.
pub fn plan_for(request: &Request, host: &Host) -> Result<(Plan, Report)> {
    let skeleton = skeleton::read(&request.skeleton)?;
    planner::plan(&skeleton, host, Vec::new(), request.options)
}

/// Makes the appliance in the directory `out`, replacing what is there.
///
/// `out` appears whole or not at all.
pub fn make(request: &Request, host: &Host, out: &Path) -> Result<Rehydration> {
    let prepared = prepare(request, host)?;
    write(&prepared, request, out)?;
    Ok(prepared.into_rehydration())
}

/// Carries out what was prepared, in the directory `out`, which appears whole
/// or not at all.
pub fn write(prepared: &Prepared, request: &Request, out: &Path) -> Result<()> {
    let scratch = Scratch::beside(out)?;
    let made = scratch.directory()?;
    fill(prepared, request, &made)?;
    let stamp = Stamp {
        inputs: prepared.inputs.clone(),
        plan: prepared.fingerprint.hex(),
    };
    stamp.write(&made.join(STAMP))?;
    cache::replace_directory(&made, out)
}

/// Makes the root file system of the appliance as the directory tree `out`,
/// replacing what is there; no kernel is needed.
pub fn make_chroot(request: &Request, host: &Host, out: &Path) -> Result<(Report, Skipped)> {
    let (plan, report) = plan_for(request, host)?;
    let skipped = write_chroot(&plan, out)?;
    Ok((report, skipped))
}

/// Makes the tree of `plan` in the directory `out`, which appears whole or not
/// at all.
pub fn write_chroot(plan: &Plan, out: &Path) -> Result<Skipped> {
    let scratch = Scratch::beside(out)?;
    let tree = scratch.path().join("root");
    let skipped = chroot::write(plan, &tree)?;
    // When it was made is all that tells whether it is newer than its inputs.
    files::open(&tree)?
        .set_modified(SystemTime::now())
        .map_err(|e| Error::io("cannot set the time of", &tree, e))?;
    cache::replace_directory(&tree, out)?;
    Ok(skipped)
}

/// Finds out all that is needed to write an appliance, without writing it.
pub fn prepare(request: &Request, host: &Host) -> Result<Prepared> {
    let inputs = inputs(request, host)?;
    let skeleton = skeleton::read(&request.skeleton)?;
    let readers = request.options.readers;
    let wanted = kernel::Request {
        readers,
        ..request.kernel.clone()
    };
    let selection = kernel::choose(host.root(), &wanted)?;
    let kernel = &selection.kernel;

    let index = Index::load(&kernel.modules)?;
    let wanted: Vec<&str> = request
        .drivers
        .iter()
        .copied()
        .chain(request.modules.iter().map(String::as_str))
        .collect();
    let closure = index.closure(&wanted)?;
    if let Some(name) = closure
        .missing
        .iter()
        .find(|name| request.modules.iter().any(|wanted| &wanted == name))
    {
        return Err(Error::host(format!(
            "the kernel {} has no module `{name}`",
            kernel.version
        ))
        .hint("correct `boot.modules` in the description, or install a kernel that has it"));
    }
    let gate = Gate::new(readers);
    if let Some(module) = closure.files.iter().find(|path| !gate.reads(path)) {
        return Err(Error::host(format!(
            "the kernel module `{}` may not be read by all who are to boot it",
            module.display()
        ))
        .hint("correct its mode, and those of the directories above it"));
    }
    let initrd = initrd::build(&closure.files)?;

    let inside = PathBuf::from("/lib/modules").join(&kernel.version);
    let modules = if request.all_modules {
        host_entries::host_tree(&inside, &kernel.modules, &Origin::Module)?
    } else {
        Vec::new()
    };
    let (plan, report) = planner::plan(&skeleton, host, modules, request.options)?;
    if request.options.complete && !plan.has_init() {
        return Err(no_init());
    }

    let mut fingerprint = Fingerprint::default();
    fingerprint
        .plan(&plan)
        .add(&initrd)
        .identity(&kernel.image)
        .number(request.link_kernel.into())
        .number(request.size.unwrap_or(0));
    Ok(Prepared {
        inputs,
        plan,
        report,
        initrd,
        modules: closure.files.len(),
        selection,
        fingerprint,
    })
}

/// Writes the three files to `directory`.
pub(super) fn fill(prepared: &Prepared, request: &Request, directory: &Path) -> Result<()> {
    let appliance = Appliance::at(directory);
    kernel::install(
        &prepared.selection.kernel,
        &appliance.kernel,
        request.link_kernel,
    )?;
    files::write(&appliance.initrd, &prepared.initrd)?;
    let digest = prepared.fingerprint.bytes();
    let options = ext2::Options {
        uuid: uuid(&digest),
        size: request.size,
        timestamp: 0,
    };
    let layout = ext2::layout(&prepared.plan, &options)?;
    sink::write(&layout, &appliance.root)?;
    if prepared.plan.entries.iter().any(is_secret) {
        // Only root could read it on the host, and it stays so.
        set_mode(&appliance.root, 0o600)?;
    }
    if request.options.readers == Readers::Everybody {
        // Whatever the umask, and the mode that the kernel had.
        for file in [&appliance.kernel, &appliance.initrd, &appliance.root] {
            set_mode(file, 0o644)?;
        }
        set_mode(directory, 0o755)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))
        .map_err(|e| Error::io("cannot set the mode of", path, e))
}

/// Whether an entry holds bytes of the host that not everybody may read, or may
/// get at.
pub(super) fn is_secret(entry: &Entry) -> bool {
    let Node::File(Content::Host(file)) = &entry.node else {
        return false;
    };
    let closed = |directory: &Path| {
        let mode = std::fs::metadata(directory).map_or(0, |meta| meta.permissions().mode());
        mode & 0o001 == 0
    };
    entry.mode & 0o004 == 0 || file.path.ancestors().skip(1).any(closed)
}

/// A UUID that depends on nothing but what is in the appliance.
///
/// Version 8, variant 1 (RFC 9562): bits of our own choice.
pub(super) fn uuid(digest: &[u8; 32]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Without `/init` the guest's kernel panics; better to say so here.
fn no_init() -> Error {
    Error::input("the skeleton has no `/init`, so nothing would run in the guest")
        .hint("make the skeleton with `freezedry prepare`, or add a tar file that holds `init`")
}

impl Prepared {
    pub(super) fn into_rehydration(self) -> Rehydration {
        let statistics = Statistics {
            entries: self.plan.entries.len(),
            bytes: self.plan.entries.iter().map(Entry::size).sum(),
            modules: self.modules,
        };
        Rehydration {
            kernel: self.selection.kernel,
            rejected: self
                .selection
                .rejected
                .iter()
                .map(ToString::to_string)
                .collect(),
            report: self.report,
            statistics,
        }
    }
}
