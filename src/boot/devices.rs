//! What a machine has beyond its root disk, its console and its network.

use super::disk::{Disk, with_path};
use super::screen::Screen;
use super::share::{Carriers, Share, Transport};
use super::storage::Kept;
use std::ffi::OsString;
use std::path::PathBuf;

/// Devices that the user asked for.
#[derive(Debug, Clone)]
pub struct Devices {
    /// Disks; the guest's names for them begin at `/dev/vdb`, their serial
    /// numbers are `disk0`, `disk1`, ...
    pub disks: Vec<Disk>,
    /// Directories that outlive the guest.
    pub kept: Vec<Kept>,
    /// Directories of the host.
    pub shares: Vec<Share>,
    /// How these reach the guest.
    pub transport: Transport,
    /// Where qemu's monitor listens, see [`super::qmp`].
    pub monitor: Option<PathBuf>,
    /// Whether a signal has the guest shut down first: what it writes has to last.
    pub orderly: bool,
    /// Who may log in as root by ssh: an ed25519 key, in base64.  The guest can
    /// show it to anybody, since it is the public half.
    pub authorized_key: Option<String>,
    /// Its screen; without one its console is the serial line alone.
    pub screen: Option<Screen>,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            disks: Vec::new(),
            kept: Vec::new(),
            shares: Vec::new(),
            transport: Transport::NineP,
            monitor: None,
            orderly: false,
            authorized_key: None,
            screen: None,
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
        let kept = self.kept.iter().enumerate();
        arguments.extend(kept.flat_map(|(index, kept)| kept.arguments(index)));
        arguments.extend(carriers.arguments(&self.shares, memory));
        let display = self.screen.as_ref().map(Screen::display);
        let display = display.unwrap_or_else(|| "none".to_owned());
        arguments.extend(["-display".to_owned(), display].map(OsString::from));
        if self.screen.is_some() {
            arguments.extend(["-device", "VGA"].map(OsString::from));
        }
        if let Some(socket) = &self.monitor {
            arguments.push("-chardev".into());
            arguments.push(with_path(
                "socket,id=monitor,server=on,wait=off,path=",
                socket,
            ));
            arguments.extend(["-mon", "chardev=monitor,mode=control"].map(OsString::from));
        }
        arguments
    }

    /// Words for the kernel's command line.
    pub(super) fn parameters(&self) -> Vec<String> {
        // A share may lie in what is kept.
        let kept = self.kept.iter().enumerate();
        let mut parameters: Vec<String> = kept.map(|(index, kept)| kept.parameter(index)).collect();
        parameters.extend(self.transport.parameters(&self.shares));
        if !self.kept.is_empty() || self.disks.iter().any(|disk| !disk.read_only) {
            parameters.push("freezedry.sync".to_owned());
        }
        if self.screen.is_some() {
            // Both show what the kernel says; the last stays /dev/console.
            let words = ["console=tty0", "console=ttyS0", "freezedry.screen"];
            parameters.extend(words.map(str::to_owned));
        }
        if let Some(key) = &self.authorized_key {
            parameters.push(format!("freezedry.ssh={key}"));
        }
        parameters
    }
}
