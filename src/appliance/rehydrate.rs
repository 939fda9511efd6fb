//! From skeleton and host to the three files of an appliance.

use super::cache::{self, Slot};
use super::image::chroot::{self, Skipped};
use super::image::{ext2, sink};
use super::kernel::{self, Kernel};
use super::modules::{self, Index};
use super::plan::{Entry, Origin, Plan};
use super::planner::{self, Options, Report};
use super::stamp::{Fingerprint, Stamp};
use super::{Appliance, STAMP, initrd, system};
use crate::host::Host;
use crate::node::{Content, Node};
use crate::{Error, Result, files, skeleton};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What to rehydrate, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The skeleton: directories or files.
    pub skeleton: Vec<PathBuf>,
    /// How the plan is made.
    pub options: Options,
    /// Kernel modules beyond those that booting needs: their names, loaded
    /// before the root file system is mounted.
    pub modules: Vec<String>,
    /// Whether the whole of `/lib/modules/VERSION` goes in.
    pub all_modules: bool,
    /// Which kernel.
    pub kernel: kernel::Request,
    /// The size of the root file system in bytes; `None` for 4 GiB, sparse.
    pub size: Option<u64>,
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

/// Whether a cached appliance could be used.
#[derive(Debug)]
pub enum Freshness {
    /// Nothing that was looked at has changed.
    Fresh,
    /// Something has changed, but nothing that goes in.
    Unaffected,
    /// It was made anew, for this reason.
    Made {
        /// Why.
        reason: &'static str,
        /// What was made.
        rehydration: Box<Rehydration>,
    },
}

/// Everything that is known before anything is written.
struct Prepared {
    plan: Plan,
    report: Report,
    selection: kernel::Selection,
    initrd: Vec<u8>,
    modules: usize,
    fingerprint: Fingerprint,
}

/// The plan that [`make`] would carry out, without carrying it out.
pub fn explain(request: &Request, host: &Host) -> Result<(Plan, Report, Kernel)> {
    let prepared = prepare(request, host)?;
    Ok((prepared.plan, prepared.report, prepared.selection.kernel))
}

/// Makes the appliance in the directory `out`, replacing what is there.
///
/// `out` appears whole or not at all.
pub fn make(request: &Request, host: &Host, out: &Path) -> Result<Rehydration> {
    let prepared = prepare(request, host)?;
    let scratch = beside(out)?;
    let made = scratch.path().join("appliance");
    files::create_dir_all(&made)?;
    write(&prepared, request, &made)?;
    cache::replace_directory(&made, out)?;
    Ok(prepared.into_rehydration())
}

/// Makes the root file system of the appliance as the directory tree `out`,
/// replacing what is there; no kernel is needed.
pub fn make_chroot(request: &Request, host: &Host, out: &Path) -> Result<(Report, Skipped)> {
    let skeleton = skeleton::read(&request.skeleton)?;
    let (plan, report) = planner::plan(&skeleton, host, Vec::new(), request.options)?;
    let scratch = beside(out)?;
    let tree = scratch.path().join("root");
    let skipped = chroot::write(&plan, &tree)?;
    cache::replace_directory(&tree, out)?;
    Ok((report, skipped))
}

/// A scratch directory on the file system of `out`, removed with its handle.
fn beside(out: &Path) -> Result<tempfile::TempDir> {
    let parent = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".freezedry.")
        .tempdir_in(parent)
        .map_err(|e| Error::io("cannot create a directory in", parent, e))
}

/// Makes sure that `slot` holds an appliance that is as `request` and `host`
/// want it now, making it anew only if it is not; `waiting` is called if
/// somebody else is at it.
pub fn ensure(
    slot: &Slot,
    request: &Request,
    host: &Host,
    waiting: &mut dyn FnMut(&Path),
) -> Result<(Appliance, Freshness)> {
    let inputs = inputs(request, host)?;
    let fresh = || match slot.load() {
        Some((appliance, stamp)) if stamp.inputs == inputs => Some(appliance),
        _ => None,
    };
    if let Some(appliance) = fresh() {
        return Ok((appliance, Freshness::Fresh));
    }
    slot.exclude(waiting)?;
    // Somebody else may have made it while this process waited.
    let made = match fresh() {
        Some(appliance) => (appliance, Freshness::Fresh),
        None => make_in(slot, inputs.clone(), request, host)?,
    };
    slot.share()?;
    Ok(made)
}

/// Makes the appliance in `slot`, unless the plan is what it was.
fn make_in(
    slot: &Slot,
    inputs: String,
    request: &Request,
    host: &Host,
) -> Result<(Appliance, Freshness)> {
    let there = slot.load();
    let prepared = prepare(request, host)?;
    let stamp = Stamp {
        inputs,
        plan: prepared.fingerprint.hex(),
    };
    let reason = match there {
        Some((appliance, old)) if old.plan == stamp.plan => {
            stamp.write(&slot.path().join(STAMP))?;
            return Ok((appliance, Freshness::Unaffected));
        }
        Some(_) => "what goes into it has changed",
        None if slot.path().exists() => "the one in the cache is damaged",
        None => "there was none yet",
    };
    let scratch = slot.scratch()?;
    write(&prepared, request, &scratch)?;
    stamp.write(&scratch.join(STAMP))?;
    let appliance = slot.publish(&scratch)?;
    let rehydration = Box::new(prepared.into_rehydration());
    Ok((
        appliance,
        Freshness::Made {
            reason,
            rehydration,
        },
    ))
}

/// A digest of all that is looked at before the plan is made.
fn inputs(request: &Request, host: &Host) -> Result<String> {
    let mut print = Fingerprint::default();
    print.add(env!("CARGO_PKG_VERSION"));
    // What a Debug text leaves out is no input.
    print.add(format!(
        "{:?}",
        (
            &request.options,
            &request.modules,
            request.all_modules,
            &request.kernel,
            request.size
        )
    ));
    print.contents(&request.skeleton)?;
    for path in host.database_paths() {
        print.identity(&path);
    }
    for path in system::inputs(host.root()) {
        print.identity(&path);
    }
    for path in kernel::search_paths(host.root(), &request.kernel) {
        print.identity(&path);
    }
    Ok(print.hex())
}

fn prepare(request: &Request, host: &Host) -> Result<Prepared> {
    let skeleton = skeleton::read(&request.skeleton)?;
    let selection = kernel::choose(host.root(), &request.kernel)?;
    let kernel = &selection.kernel;

    let index = Index::load(&kernel.modules)?;
    let wanted: Vec<&str> = modules::NATIVE
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
    let initrd = initrd::build(&closure.files)?;

    let inside = PathBuf::from("/lib/modules").join(&kernel.version);
    let modules = if request.all_modules {
        planner::host_tree(&inside, &kernel.modules, &Origin::Module)?
    } else {
        Vec::new()
    };
    let (plan, report) = planner::plan(&skeleton, host, modules, request.options)?;
    require_init(&plan)?;

    let mut fingerprint = Fingerprint::default();
    fingerprint
        .plan(&plan)
        .add(&initrd)
        .identity(&kernel.image)
        .number(request.size.unwrap_or(0));
    Ok(Prepared {
        plan,
        report,
        initrd,
        modules: closure.files.len(),
        selection,
        fingerprint,
    })
}

fn write(prepared: &Prepared, request: &Request, directory: &Path) -> Result<()> {
    let appliance = Appliance::at(directory);
    // Copied, not linked: an appliance is to survive the kernel's removal, and
    // virtualisation daemons have to be able to relabel it.
    std::fs::copy(&prepared.selection.kernel.image, &appliance.kernel)
        .map_err(|e| Error::io("cannot copy the kernel to", &appliance.kernel, e))?;
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
        std::fs::set_permissions(&appliance.root, PermissionsExt::from_mode(0o600))
            .map_err(|e| Error::io("cannot set the mode of", &appliance.root, e))?;
    }
    Ok(())
}

/// Whether an entry holds bytes of the host that not everybody may read.
fn is_secret(entry: &Entry) -> bool {
    matches!(entry.node, Node::File(Content::Host { .. })) && entry.mode & 0o004 == 0
}

/// A UUID that depends on nothing but what is in the appliance.
///
/// Version 8, variant 1 (RFC 9562): bits of our own choice.
fn uuid(digest: &[u8; 32]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Without `/init` the guest's kernel panics; better to say so here.
fn require_init(plan: &Plan) -> Result<()> {
    let there = |entry: &Entry| entry.path == Path::new("/init") && entry.node != Node::Directory;
    if plan.entries.iter().any(there) {
        return Ok(());
    }
    Err(
        Error::input("the skeleton has no `/init`, so nothing would run in the guest").hint(
            "make the skeleton with `freezedry prepare`, or add a tar file that holds `init`",
        ),
    )
}

impl Prepared {
    fn into_rehydration(self) -> Rehydration {
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
