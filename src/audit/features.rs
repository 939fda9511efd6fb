//! What the chosen features need: kernel modules, and programs in the guest.

use super::cure::Cures;
use super::inside::Inside;
use super::{Finding, Kind, Place, Severity, Subject};
use crate::Result;
use crate::appliance::modules::Index;
use crate::description::Init;
use crate::glob::{Directories, Wildcards};

/// Modules that the kernel lacks, each with what it is for.
pub(super) fn modules(subject: &Subject<'_>) -> Result<Vec<Finding>> {
    let Some(kernel) = subject.kernel else {
        return Ok(Vec::new());
    };
    let boot = &subject.description.boot;
    let mut wanted = vec![
        (
            "virtio_pci",
            "init",
            "the appliance's disk",
            Severity::Error,
        ),
        (
            "virtio_blk",
            "init",
            "the appliance's disk",
            Severity::Error,
        ),
        (
            "ext4",
            "init",
            "the appliance's file system",
            Severity::Error,
        ),
    ];
    if matches!(boot.init, Init::Command(_)) {
        wanted.push((
            "virtio_console",
            "init",
            "the input and output of `boot.init`",
            Severity::Error,
        ));
    }
    if boot.network {
        wanted.push(("virtio_net", "network", "`boot.network`", Severity::Warning));
    }
    let own = boot.modules.iter();
    wanted.extend(own.map(|name| (name.as_str(), "modules", "`boot.modules`", Severity::Error)));
    let names: Vec<&str> = wanted.iter().map(|(name, ..)| *name).collect();
    let missing = Index::load(&kernel.modules)?.closure(&names)?.missing;
    let finding = |(name, key, what, severity): (&str, &'static str, &str, Severity)| Finding {
        severity,
        kind: Kind::Module,
        place: Place::Boot(key),
        title: format!(
            "{what} needs the module `{name}`, which the kernel {} does not have",
            kernel.version
        ),
        help: if key == "modules" {
            "correct the name, or install a kernel that has it".into()
        } else {
            "install another kernel (Debian: linux-image-cloud-amd64, Fedora: kernel-core), \
             or name one in SUPERMIN_KERNEL"
                .into()
        },
        missing: name.to_owned(),
        wanted_by: Vec::new(),
    };
    let wanted = wanted
        .into_iter()
        .filter(|(name, ..)| missing.iter().any(|other| other == name));
    Ok(wanted.map(finding).collect())
}

/// Patterns of `host_files` that match nothing here.
pub(super) fn host_files(subject: &Subject<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut directories = Directories::new(subject.host.root());
    for pattern in &subject.description.host_files {
        if directories
            .expand(pattern, Wildcards::default())?
            .is_empty()
        {
            findings.push(Finding {
                severity: Severity::Warning,
                kind: Kind::HostFile,
                place: Place::HostFile(pattern.clone()),
                title: format!("`host_files`: this host has nothing that matches `{pattern}`"),
                help: "correct it, or remove it".into(),
                missing: pattern.clone(),
                wanted_by: Vec::new(),
            });
        }
    }
    Ok(findings)
}

/// The server that the keys in `boot.authorized_keys` are for.
pub(super) fn ssh(subject: &Subject<'_>, inside: &Inside<'_>) -> Option<Finding> {
    let wanted = !subject.description.boot.authorized_keys.is_empty();
    (wanted && inside.command("sshd").is_none()).then(|| Finding {
        severity: Severity::Warning,
        kind: Kind::Command,
        place: Place::Boot("authorized_keys"),
        title: "`boot.authorized_keys`: `sshd` is not in the appliance, so that nobody can log in \
                with a key"
            .into(),
        help: "add `openssh-server` to `packages`".into(),
        missing: "sshd".into(),
        wanted_by: Vec::new(),
    })
}

/// The program that sets the guest's network up.
pub(super) fn network(
    subject: &Subject<'_>,
    inside: &Inside<'_>,
    cures: &Cures<'_>,
) -> Result<Vec<Finding>> {
    let boot = &subject.description.boot;
    // systemd has its own ways.
    if !boot.network || boot.init == Init::Systemd || inside.command("ip").is_some() {
        return Ok(Vec::new());
    }
    Ok(vec![Finding {
        severity: Severity::Warning,
        kind: Kind::Command,
        place: Place::Boot("network"),
        title: "`boot.network`: `ip` is not in the appliance, so that nothing sets the network up"
            .into(),
        help: if cures.has_command("ip")? {
            cures.command("ip")?
        } else {
            "add `iproute2` (Debian, SUSE, Arch, Alpine) or `iproute` (Fedora) to `packages`".into()
        },
        missing: "ip".into(),
        wanted_by: Vec::new(),
    }])
}
