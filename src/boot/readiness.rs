//! Whether this machine can rehydrate and boot appliances, and what repairs it.

use super::accelerator::Memory;
use super::machine::find_qemu;
use crate::appliance::kernel::{self, Selection};
use crate::error::Kind;
use crate::host::Host;
use crate::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, but not as well as it could.
    Poor,
    /// No appliance can be booted.
    Bad,
}

/// The outcome of one examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// What was examined, in a word or two.
    pub what: &'static str,
    /// How well it is.
    pub health: Health,
    /// What was seen.
    pub seen: String,
    /// What repairs it; a command line where there is one.
    pub repair: Option<String>,
}

impl Examination {
    fn new(what: &'static str, health: Health, seen: impl Into<String>) -> Self {
        Self {
            what,
            health,
            seen: seen.into(),
            repair: None,
        }
    }

    fn repair(mut self, repair: impl Into<String>) -> Self {
        self.repair = Some(repair.into());
        self
    }

    fn failed(what: &'static str, error: &Error) -> Self {
        Self {
            repair: error.advice().map(str::to_owned),
            ..Self::new(what, Health::Bad, error.to_string())
        }
    }
}

/// Less free space than this, in bytes, will not hold an appliance of a usual size.
const LITTLE: u64 = 512 << 20;
/// Less than this holds only a few.
const ENOUGH: u64 = 2 << 30;

/// Examines the machine below `/`; appliances are kept in `cache`.
pub fn examine(request: &kernel::Request, cache: &Path) -> Vec<Examination> {
    let host = Host::detect(Path::new("/"));
    let mut all = vec![distribution(&host), packages(&host)];
    all.push(match kernel::choose(Path::new("/"), request) {
        Ok(selection) => kernel(&selection),
        Err(error) => Examination::failed("kernel", &error),
    });
    all.push(match find_qemu() {
        Ok(path) => Examination::new("qemu", Health::Good, path.display().to_string()),
        Err(error) => Examination::failed("qemu", &error),
    });
    all.push(kvm(
        &Memory::new(cache).verdict(),
        access(Path::new("/dev/kvm")),
    ));
    all.push(space(cache));
    all
}

fn distribution(host: &Result<Host>) -> Examination {
    match host {
        Ok(host) => {
            let name = match host.os().name.as_str() {
                "" => "a distribution without a name",
                name => name,
            };
            let seen = format!("{name} (packages by the names of {})", host.family());
            Examination::new("distribution", Health::Good, seen)
        }
        Err(error) => Examination::failed("distribution", error),
    }
}

fn packages(host: &Result<Host>) -> Examination {
    let what = "package database";
    let Ok(host) = host else {
        return Examination::new(what, Health::Bad, "unknown, because the distribution is");
    };
    match host.packages().map(|database| database.packages().len()) {
        Ok(0) => Examination::new(what, Health::Bad, "it names no package"),
        Ok(count) => Examination::new(what, Health::Good, format!("{count} packages")),
        Err(error) => Examination::failed(what, &error),
    }
}

fn kernel(selection: &Selection) -> Examination {
    let kernel = &selection.kernel;
    let seen = format!("{} ({})", kernel.version, kernel.image.display());
    let examination = Examination::new("kernel", Health::Good, seen);
    // A better one that only root may read is worth a word.
    let unreadable = selection
        .rejected
        .iter()
        .find(|other| other.reason.contains("Permission denied"));
    match unreadable {
        Some(other) => Examination {
            health: Health::Poor,
            seen: format!("{}; not {other}", examination.seen),
            ..examination
        }
        .repair(kernel::make_readable(&other.image)),
        None => examination,
    }
}

/// Whether a device is there, and may be opened; the name of its group if that
/// is what is lacking.
enum Access {
    Yes,
    NotThere,
    Denied {
        group: Option<String>,
        /// Whether this user is a member, only not in this session yet.
        member: bool,
    },
}

fn access(device: &Path) -> Access {
    let Ok(meta) = device.metadata() else {
        return Access::NotThere;
    };
    let both = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    if rustix::fs::access(device, both).is_ok() {
        return Access::Yes;
    }
    let groups = crate::files::read_text("/etc/group").unwrap_or_default();
    let group = group(&groups, meta.gid()).filter(|_| meta.mode() & 0o060 == 0o060);
    let user = std::env::var("USER").unwrap_or_default();
    Access::Denied {
        member: group
            .as_ref()
            .is_some_and(|(_, members)| members.contains(&user.as_str())),
        group: group.map(|(name, _)| name.to_owned()),
    }
}

/// The name and the members of group `id` in the text of a group(5) file.
fn group(groups: &str, id: u32) -> Option<(&str, Vec<&str>)> {
    groups.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, number, members] = fields[..] else {
            return None;
        };
        (number == id.to_string()).then(|| (name, members.split(',').collect()))
    })
}

/// Without KVM all works, several times slower.
fn kvm(verdict: &Result<(), String>, access: Access) -> Examination {
    let what = "KVM";
    let Err(reason) = verdict else {
        return Examination::new(what, Health::Good, "it works");
    };
    let slow = |why: &str| {
        let seen = format!("{why}; appliances boot in software emulation, several times slower");
        Examination::new(what, Health::Poor, seen)
    };
    match access {
        Access::Yes => slow(reason),
        Access::NotThere => slow("there is no /dev/kvm").repair(
            "on real hardware: sudo modprobe kvm_intel || sudo modprobe kvm_amd \
             (and virtualisation switched on in the firmware); \
             in a virtual machine: nested virtualisation has to be allowed outside",
        ),
        Access::Denied { group: Some(group), member: true } => slow("you may not open /dev/kvm yet")
            .repair(format!("log in again: you are in the group {group}, but this session is older")),
        Access::Denied { group: Some(group), .. } => slow("you may not open /dev/kvm").repair(format!(
            "sudo usermod -aG {group} \"$USER\", then log in again"
        )),
        Access::Denied { group: None, .. } => slow("you may not open /dev/kvm").repair(
            "sudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm, then sudo usermod -aG kvm \"$USER\"",
        ),
    }
}

/// The cache directory: that it can be written to, and has room.
fn space(cache: &Path) -> Examination {
    let what = "cache";
    let mut there: PathBuf = cache.to_owned();
    while !there.exists() && there.pop() {}
    let name = cache.display();
    if let Err(error) = rustix::fs::access(&there, rustix::fs::Access::WRITE_OK) {
        let error = Error::io("cannot write to", &there, error)
            .hint("name a directory of yours in FREEZEDRY_CACHE_DIR");
        return Examination::failed(what, &error);
    }
    let free = match rustix::fs::statvfs(&there) {
        Ok(status) => status.f_bavail.saturating_mul(status.f_frsize),
        Err(error) => {
            let error = Error::new(Kind::System, format!("cannot see how full `{name}` is"))
                .caused_by(error);
            return Examination::failed(what, &error);
        }
    };
    let seen = format!("{} MB free in {name}", free / 1_000_000);
    let health = match free {
        ..LITTLE => Health::Bad,
        LITTLE..ENOUGH => Health::Poor,
        _ => Health::Good,
    };
    let examination = Examination::new(what, health, seen);
    if health == Health::Good {
        examination
    } else {
        examination.repair(
            "make room: freezedry clean; or name a directory on another disk in FREEZEDRY_CACHE_DIR",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_s_repair_depends_on_what_is_wrong() {
        let denied = |group: Option<&str>| Access::Denied {
            group: group.map(str::to_owned),
            member: false,
        };
        let bad = || Err("cannot open /dev/kvm".to_owned());
        assert_eq!(kvm(&Ok(()), Access::Yes).health, Health::Good);
        let repair = |access| kvm(&bad(), access).repair.unwrap_or_default();
        assert!(repair(denied(Some("kvm"))).starts_with("sudo usermod -aG kvm "));
        assert!(repair(denied(None)).starts_with("sudo chgrp kvm"));
        assert!(repair(Access::NotThere).contains("modprobe"));
        assert_eq!(repair(Access::Yes), "");
        assert_eq!(kvm(&bad(), Access::Yes).health, Health::Poor);
    }

    #[test]
    fn groups_have_names() {
        let text = "root:x:0:\nnonsense\nkvm:x:104:jane\n";
        assert_eq!(group(text, 104), Some(("kvm", vec!["jane"])));
        assert_eq!(group(text, 7), None);
    }

    #[test]
    fn a_kernel_that_only_root_reads_comes_with_the_command_that_repairs_it() {
        let selection = Selection {
            kernel: kernel::Kernel {
                image: "/boot/vmlinuz-1".into(),
                version: "1".into(),
                modules: "/lib/modules/1".into(),
            },
            rejected: vec![kernel::Rejected {
                image: "/boot/vmlinuz-2".into(),
                reason: "Permission denied (os error 13)".into(),
            }],
        };
        let examination = super::kernel(&selection);
        assert_eq!(examination.health, Health::Poor);
        let repair = examination.repair.unwrap_or_default();
        assert!(repair.ends_with(" 0644 /boot/vmlinuz-2"), "{repair}");
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_bad() {
        // Not even root can write here.
        let examination = space(Path::new("/proc/sys/freezedry"));
        assert_eq!(examination.health, Health::Bad, "{examination:?}");
        assert!(
            examination
                .repair
                .unwrap_or_default()
                .contains("FREEZEDRY_CACHE_DIR")
        );
    }
}
