//! Whether an appliance that is there is as it would be made now, and making it
//! only if it is not.

use super::cache::Slot;
use super::rehydrate::{Prepared, Rehydration, Request, fill, prepare};
use super::stamp::{Fingerprint, Stamp, Standing};
use super::{Appliance, STAMP, kernel, newer, system};
use crate::glob::{Directories, Wildcards, below};
use crate::host::Host;
use crate::{Result, skeleton};
use std::path::{Path, PathBuf};

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

/// Whether the tree in the directory `out` is newer than all that it was made
/// from; a tree has no room for a stamp.
pub fn is_chroot_newer(request: &Request, host: &Host, out: &Path) -> Result<bool> {
    newer::is_newer(&[out.to_owned()], &timed_inputs(request, host))
}

/// The files whose times supermin looks at.
fn timed_inputs(request: &Request, host: &Host) -> Vec<PathBuf> {
    let databases = host.database_paths().into_iter();
    let databases = databases.filter(|path| path.symlink_metadata().is_ok());
    request.skeleton.iter().cloned().chain(databases).collect()
}

/// Whether the appliance in the directory `out` is as `request` and `host` want
/// it now: `None` if it is, else what is to be made and why.
///
/// An appliance without a stamp was made by another program; of that one only
/// the times of its files can tell, as supermin judges.
pub fn outdated(
    request: &Request,
    host: &Host,
    out: &Path,
) -> Result<Option<(Box<Prepared>, &'static str)>> {
    let appliance = Appliance::at(out);
    let stamp = Stamp::read(&out.join(STAMP)).ok();
    let whole = appliance.is_whole();
    let reason = match &stamp {
        _ if out.symlink_metadata().is_err() => "there was none yet",
        _ if !whole => "it is not whole",
        None if newer::is_newer(&appliance.outputs(out), &timed_inputs(request, host))? => {
            return Ok(None);
        }
        None => "an input is newer",
        Some(stamp) if stamp.inputs == inputs(request, host)? => return Ok(None),
        Some(_) => "what goes into it has changed",
    };
    let prepared = prepare(request, host)?;
    if let Some(stamp) = stamp
        && whole
        && stamp.plan == prepared.fingerprint.hex()
    {
        // Something that was looked at has changed, but nothing that goes in.
        let inputs = prepared.inputs.clone();
        Stamp { inputs, ..stamp }.write(&out.join(STAMP))?;
        return Ok(None);
    }
    Ok(Some((Box::new(prepared), reason)))
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

/// Whether an appliance with this `stamp` is what `request` and `host` want now.
///
/// `note` remembers the answer for a user who may not renew the stamp itself.
pub(super) fn is_current(
    stamp: &Stamp,
    request: &Request,
    host: &Host,
    note: Option<&Path>,
) -> Result<bool> {
    let now = Stamp {
        inputs: inputs(request, host)?,
        plan: stamp.plan.clone(),
    };
    if *stamp == now || note.is_some_and(|note| Stamp::read(note).is_ok_and(|read| read == now)) {
        return Ok(true);
    }
    let current = prepare(request, host)?.fingerprint.hex() == stamp.plan;
    if current && let Some(note) = note {
        // It only saves time.
        let _ = now.write(note);
    }
    Ok(current)
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
    fill(&prepared, request, &scratch)?;
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

impl Stamp {
    /// Whether the appliance with this stamp is what `request` and `host` would
    /// give now; nothing is made.
    pub fn standing(&self, request: &Request, host: &Host) -> Result<Standing> {
        if self.inputs == inputs(request, host)? {
            return Ok(Standing::Fresh);
        }
        let unchanged = self.plan == prepare(request, host)?.fingerprint.hex();
        Ok(if unchanged {
            Standing::Unaffected
        } else {
            Standing::Stale
        })
    }
}

/// A digest of all that is looked at before the plan is made.
pub(super) fn inputs(request: &Request, host: &Host) -> Result<String> {
    let mut print = Fingerprint::default();
    print.add(env!("CARGO_PKG_VERSION"));
    // What a Debug text leaves out is no input.
    print.add(format!(
        "{:?}",
        (
            &request.options,
            request.drivers,
            &request.modules,
            request.all_modules,
            &request.kernel,
            request.link_kernel,
            request.size,
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
    let mut directories = Directories::new(host.root());
    for pattern in skeleton::host_files(&request.skeleton)? {
        for path in directories.expand(pattern, Wildcards::default())? {
            print.identity(&below(host.root(), &path));
        }
    }
    Ok(print.hex())
}
