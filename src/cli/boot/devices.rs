//! The options of `freezedry boot` that give the guest something of the host's.

use crate::boot::storage::{self, Storage};
use crate::boot::{Devices, Disk, Screen, Share, Transport};
use crate::cli::notice;
use crate::description::{self, Boot};
use crate::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Disks and directories.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Disks and directories")]
pub(super) struct DeviceOptions {
    /// Give the guest a disk, raw or qcow2 (say which if its content is not to be trusted): the
    /// first is its /dev/vdb; may be repeated
    #[arg(long = "disk", value_name = "FILE[:raw|:qcow2][:ro]")]
    disks: Vec<PathBuf>,
    /// Show the guest a directory, by default at /mnt/NAME and read-only; may be repeated.  With :rw
    /// what it makes there is yours, modes included: as root, also programs that are setuid root
    #[arg(long = "share", value_name = "HOSTDIR[:GUESTDIR][:rw]")]
    shares: Vec<OsString>,
    /// Keep a directory of the guest from one boot to the next, by default /home, /root and /srv;
    /// may be repeated
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = kept)]
    persist: Vec<String>,
    /// Remove what was kept, and do no more
    #[arg(long, conflicts_with = "command")]
    pub(super) reset: bool,
    /// Give the guest a screen, in a window
    #[arg(long)]
    graphical: bool,
    /// Show its screen in another way: gtk, sdl, vnc=127.0.0.1:1 (port 5901; whoever can connect
    /// sees and types), vnc=unix:/PATH
    #[arg(long, value_name = "HOW", value_parser = screen)]
    display: Option<Screen>,
}

fn screen(text: &str) -> Result<Screen, String> {
    Screen::parse(text).map_err(str::to_owned)
}

fn kept(text: &str) -> Result<String, String> {
    if text.is_empty() || description::is_kept(text) {
        return Ok(text.to_owned());
    }
    Err("name a directory of the guest below the root, for example /var/lib/postgresql".into())
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
            let other = disks[..index].iter().find(|other| other.is_same(disk));
            if other.is_some_and(|other| !other.read_only || !disk.read_only) {
                let path = disk.path.display();
                return Err(Error::input(format!("the disk `{path}` is given twice"))
                    .hint("give it once, or both times with `:ro`"));
            }
        }
        let mut shares: Vec<Share> = self
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
        // A directory comes before what lies in it, or would hide it.
        shares.sort_by(|a, b| a.target.cmp(&b.target));
        let transport = if shares.is_empty() {
            Transport::NineP
        } else {
            Transport::choose(&shares)
        };
        Ok(Devices {
            disks,
            shares,
            transport,
            ..Devices::default()
        })
    }

    /// The screen of the guest, if it is to have one.
    pub(super) fn screen(&self, described: bool) -> Result<Option<Screen>> {
        match &self.display {
            Some(screen) => screen.check().map(|()| Some(screen.clone())),
            None if self.graphical || described => Screen::window().map(Some),
            None => Ok(None),
        }
    }

    /// The directories that outlive the guest, each once.
    pub(super) fn kept(&self, described: Option<&Boot>) -> Vec<String> {
        let mut paths = described
            .map(|boot| boot.persistent.clone())
            .unwrap_or_default();
        for path in &self.persist {
            if path.is_empty() {
                paths.extend(description::PERSISTENT.map(str::to_owned));
            } else {
                paths.push(path.clone());
            }
        }
        // A directory comes before what lies in it, or would hide it.
        paths.sort();
        paths.dedup();
        paths
    }
}

/// Fails if a share would hide what is kept.
pub(super) fn apart(shares: &[Share], kept: &[String]) -> Result<()> {
    for share in shares {
        let target = &share.target;
        if let Some(path) = kept.iter().find(|path| Path::new(path).starts_with(target)) {
            return Err(Error::input(format!(
                "the share at `{target}` would hide `{path}`, which is kept"
            ))
            .hint("give it another place: HOSTDIR:GUESTDIR"));
        }
    }
    Ok(())
}

/// Removes what was kept of the appliance `name`, and says so.
pub(super) fn reset(name: &str) -> Result<()> {
    let removed = Storage::open(&storage::directory()?, name)?.reset()?;
    for path in &removed {
        notice(&format!("removed `{}`", path.display()));
    }
    if removed.is_empty() {
        notice(&format!("nothing was kept of `{name}`"));
    }
    Ok(())
}
