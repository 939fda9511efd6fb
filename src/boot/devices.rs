//! What a machine has beyond its root disk, its console and its network.

use super::disk::Disk;
use super::share::{Carriers, Share, Transport};
use std::ffi::OsString;

/// Devices that the user asked for.
#[derive(Debug, Clone)]
pub struct Devices {
    /// Disks; the guest's names for them begin at `/dev/vdb`, their serial
    /// numbers are `disk0`, `disk1`, ...
    pub disks: Vec<Disk>,
    /// Directories of the host.
    pub shares: Vec<Share>,
    /// How these reach the guest.
    pub transport: Transport,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            disks: Vec::new(),
            shares: Vec::new(),
            transport: Transport::NineP,
        }
    }
}

impl Devices {
    /// qemu's arguments, after those for the root disk.
    pub(super) fn arguments(&self, carriers: &Carriers, memory: u64) -> Vec<OsString> {
        let disks = self.disks.iter().enumerate();
        let mut arguments: Vec<OsString> = disks
            .flat_map(|(index, disk)| disk.arguments(index))
            .collect();
        arguments.extend(carriers.arguments(&self.shares, memory));
        arguments
    }

    /// Words for the kernel's command line.
    pub(super) fn parameters(&self) -> Vec<String> {
        self.transport.parameters(&self.shares)
    }
}
