//! The virtual machine as data, and qemu's command line for it.

use super::Accelerator;
use super::devices::Devices;
use super::disk::with_path;
use crate::appliance::Appliance;
use crate::{Error, Result};
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// A virtual machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What it boots.
    pub appliance: Appliance,
    /// Memory, in bytes.
    pub memory: u64,
    /// Processors.
    pub cpus: u32,
    /// Its network, if it has one.
    pub network: Option<Network>,
    /// What else it has.
    pub devices: Devices,
}

/// qemu's user network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Whether it serves these ports alone: the guest reaches nobody.
    pub restricted: bool,
    /// Ports of the host's loopback address, and the ports of the guest they lead to.
    pub ports: Vec<(u16, u16)>,
}

/// The ports of a session: what the guest calls them, and our name for each.
pub(super) const PORTS: [&str; 4] = [
    "freezedry.control",
    "freezedry.stdin",
    "freezedry.stdout",
    "freezedry.stderr",
];

/// What the kernel reads of its command line, in bytes: `COMMAND_LINE_SIZE` on
/// x86, with its NUL byte.
const COMMAND_LINE: usize = 2047;

/// Names of qemu, by preference; the last is where RHEL hides it.
const NAMES: [&str; 3] = ["qemu-system-x86_64", "qemu-kvm", "/usr/libexec/qemu-kvm"];

/// Where qemu is.
pub(super) fn find_qemu() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| {
            directories
                .iter()
                .map(move |directory| directory.join(name))
        })
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Error::host("qemu is not installed").hint(
                "install it: apt install qemu-system-x86, dnf install qemu-system-x86-core, \
                 or zypper install qemu-x86",
            )
        })
}

/// Descriptors that qemu inherits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    /// The serial console.
    pub(super) console: RawFd,
    /// The ports of a session, in the order of [`PORTS`].
    pub(super) ports: Option<[RawFd; 4]>,
}

impl Machine {
    /// qemu's arguments; `parameters` are added to the kernel's command line.
    pub(super) fn arguments(
        &self,
        accelerator: Accelerator,
        descriptors: Descriptors,
        parameters: &[String],
    ) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&["-nodefaults", "-no-user-config", "-no-reboot"]);
        add(&["-machine", "pc"]);
        match accelerator {
            Accelerator::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
            Accelerator::Tcg => add(&["-accel", "tcg", "-cpu", "max"]),
        }
        add(&["-m", &format!("{}k", self.memory >> 10)]);
        add(&["-smp", &self.cpus.to_string()]);
        add(&["-device", "virtio-rng-pci"]);
        add(&[
            "-chardev",
            &format!("socket,id=console,fd={}", descriptors.console),
        ]);
        add(&["-serial", "chardev:console"]);
        if let Some(ports) = descriptors.ports {
            add(&["-device", "virtio-serial-pci"]);
            for (name, descriptor) in PORTS.iter().zip(ports) {
                add(&["-chardev", &format!("socket,id={name},fd={descriptor}")]);
                add(&[
                    "-device",
                    &format!("virtserialport,chardev={name},name={name}"),
                ]);
            }
        }
        if let Some(network) = &self.network {
            let forwards: String = network
                .ports
                .iter()
                .map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"))
                .collect();
            let restrict = if network.restricted {
                ",restrict=on"
            } else {
                ""
            };
            add(&["-netdev", &format!("user,id=network{restrict}{forwards}")]);
            // Without an option ROM: nothing is booted from the network.
            add(&["-device", "virtio-net-pci,netdev=network,romfile="]);
        }
        // What the guest writes is thrown away when it ends.
        add(&["-device", "virtio-blk-pci,drive=root,serial=root", "-drive"]);
        let root = "if=none,id=root,format=raw,cache=unsafe,snapshot=on,file=";
        arguments.push(with_path(root, &self.appliance.root));
        arguments.push("-kernel".into());
        arguments.push(self.appliance.kernel.clone().into());
        arguments.push("-initrd".into());
        arguments.push(self.appliance.initrd.clone().into());
        arguments.push("-append".into());
        arguments.push(self.command_line(accelerator, parameters)?.into());
        Ok(arguments)
    }

    fn command_line(&self, accelerator: Accelerator, parameters: &[String]) -> Result<String> {
        // Not by its UUID, which a disk of the user's may have too.
        let mut line = "root=SERIAL=root console=ttyS0".to_owned();
        // A panic ends qemu at once (-no-reboot); the rest saves time at boot.
        line.push_str(
            " panic=-1 no_timer_check cryptomgr.notests 8250.nr_uarts=1 random.trust_cpu=on",
        );
        // The image has no labels, so that a policy would only be in the way.
        line.push_str(" selinux=0");
        // Notices show early that the kernel runs, and which.
        line.push_str(" loglevel=6");
        if accelerator == Accelerator::Kvm {
            // The deadline for the first byte counts on it.
            line.push_str(" earlyprintk=serial,ttyS0,115200");
        }
        if self.network.is_some() {
            line.push_str(" freezedry.network=user");
        }
        for parameter in parameters {
            line.push(' ');
            line.push_str(parameter);
        }
        if line.len() > COMMAND_LINE {
            return Err(Error::input(format!(
                "the kernel's command line would have {} bytes, of {COMMAND_LINE} that it reads",
                line.len()
            ))
            .hint("share or keep fewer directories, or with shorter paths"));
        }
        Ok(line)
    }
}
