//! The options of `freezedry boot` that give the guest something of the host's.

use crate::appliance::kernel;
use crate::appliance::modules::Index;
use crate::boot::{Devices, Disk, Share, Transport};
use crate::host::Host;
use crate::{Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;

/// Disks and directories.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Disks and directories")]
pub(super) struct DeviceOptions {
    /// Give the guest a disk, raw or qcow2: the first is its /dev/vdb; may be repeated
    #[arg(long = "disk", value_name = "FILE[:ro]")]
    disks: Vec<PathBuf>,
    /// Show the guest a directory, by default at /mnt/NAME and read-only; may be repeated
    #[arg(long = "share", value_name = "HOSTDIR[:GUESTDIR][:rw]")]
    shares: Vec<OsString>,
}

impl DeviceOptions {
    /// The devices; what is not there is found out now.
    pub(super) fn devices(&self) -> Result<Devices> {
        let disks: Vec<Disk> = self
            .disks
            .iter()
            .map(|disk| Disk::open(disk))
            .collect::<Result<_>>()?;
        for (index, disk) in disks.iter().enumerate() {
            let other = disks[..index].iter().find(|other| other.path == disk.path);
            if other.is_some_and(|other| !other.read_only || !disk.read_only) {
                let path = disk.path.display();
                return Err(Error::input(format!("the disk `{path}` is given twice"))
                    .hint("give it once, or both times with `:ro`"));
            }
        }
        let shares: Vec<Share> = self
            .shares
            .iter()
            .map(|share| Share::parse(share))
            .collect::<Result<_>>()?;
        for (index, share) in shares.iter().enumerate() {
            if shares[..index]
                .iter()
                .any(|other| other.target == share.target)
            {
                let target = &share.target;
                return Err(Error::input(format!("two shares are to be at `{target}`"))
                    .hint("give one another place: HOSTDIR:GUESTDIR"));
            }
        }
        let transport = if shares.is_empty() {
            Transport::NineP
        } else {
            Transport::choose(&shares)
        };
        Ok(Devices {
            disks,
            shares,
            transport,
        })
    }
}

/// Modules that the guest's kernel needs for `devices`; fails if it cannot have
/// them.
pub(super) fn modules(
    devices: &Devices,
    host: &Host,
    request: &kernel::Request,
) -> Result<Vec<String>> {
    if devices.shares.is_empty() {
        return Ok(Vec::new());
    }
    let kernel = kernel::choose(host.root(), request)?.kernel;
    let needed = devices.transport.modules();
    let closure = Index::load(&kernel.modules)?.closure(needed)?;
    match closure.missing.first() {
        Some(module) => Err(devices.transport.lacking(&kernel.version, module)),
        None => Ok(needed.iter().map(|&name| name.to_owned()).collect()),
    }
}
