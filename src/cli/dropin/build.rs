//! `supermin --build`.

use super::arguments::{Arguments, Format};
use super::{Voice, warn};
use crate::appliance::plan::Plan;
use crate::appliance::{self, Options, Prepared, Report, Request, kernel, modules};
use crate::cli::rehydrate;
use crate::host::Host;
use crate::{Error, Result};
use std::path::PathBuf;

pub(super) fn run(arguments: &Arguments, host: &Host, voice: Voice) -> Result<()> {
    let request = Request {
        skeleton: arguments.words.iter().map(PathBuf::from).collect(),
        options: Options {
            package_list: arguments.include_package_list,
            ..Options::SUPERMIN
        },
        drivers: modules::SUPERMIN,
        modules: Vec::new(),
        all_modules: true,
        kernel: rehydrate::kernel_request(),
        link_kernel: !arguments.copy_kernel,
        size: arguments.size,
    };
    match arguments.format {
        Some(Format::Chroot) => chroot(arguments, &request, host, voice),
        _ => ext2(arguments, &request, host, voice),
    }
}

fn ext2(arguments: &Arguments, request: &Request, host: &Host, voice: Voice) -> Result<()> {
    if let Some(cpu) = &arguments.host_cpu {
        require_architecture(cpu)?;
    }
    let out = &arguments.output;
    let prepared = if arguments.if_newer {
        let Some((prepared, reason)) = appliance::outdated(request, host, out)? else {
            voice.say(1, "if-newer: output does not need rebuilding");
            return Ok(());
        };
        voice.say(1, &format!("if-newer: rebuilding, because {reason}"));
        prepared
    } else {
        Box::new(appliance::prepare(request, host)?)
    };
    explain(&prepared.report, &prepared.plan, arguments, voice);
    explain_kernel(&prepared, voice);
    if !prepared.plan.has_init() {
        warn("the appliance has no /init, so its kernel will panic; add a tar file that holds one");
    }
    voice.say(
        1,
        &format!("ext2: creating '{}'", out.join("root").display()),
    );
    voice.say(
        1,
        &format!(
            "ext2: creating minimal initrd '{}' with {} modules",
            out.join("initrd").display(),
            prepared.modules
        ),
    );
    appliance::write(&prepared, request, out)?;
    voice.say(
        1,
        &format!("renaming the finished directory to {}", out.display()),
    );
    Ok(())
}

fn chroot(arguments: &Arguments, request: &Request, host: &Host, voice: Voice) -> Result<()> {
    let out = &arguments.output;
    if arguments.if_newer {
        if appliance::is_chroot_newer(request, host, out)? {
            voice.say(1, "if-newer: output does not need rebuilding");
            return Ok(());
        }
        voice.say(
            1,
            "if-newer: rebuilding, because it is missing or an input is newer",
        );
    }
    let (mut plan, report) = appliance::plan_for(request, host)?;
    explain(&report, &plan, arguments, voice);
    plan.make_links_relative();
    let skipped = appliance::write_chroot(&plan, out)?;
    if skipped.owners {
        voice.say(1, "chroot: not root, so all files belong to you");
    }
    for path in &skipped.devices {
        warn(&format!(
            "{}: only root may make device nodes (ignored)",
            path.display()
        ));
    }
    voice.say(
        1,
        &format!("renaming the finished directory to {}", out.display()),
    );
    Ok(())
}

/// Freezedry's PID 1 is for the machine that it was built for.
fn require_architecture(cpu: &str) -> Result<()> {
    let name = match cpu {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "ppc64el" | "powerpc64le" | "ppc64le" => "powerpc64",
        other => other,
    };
    if name == std::env::consts::ARCH {
        return Ok(());
    }
    Err(Error::host(format!(
        "--host-cpu {cpu}: this program makes appliances for {} only",
        std::env::consts::ARCH
    ))
    .hint("use a Freezedry built for that machine, or leave --host-cpu out"))
}

/// Every decision about what goes in.
fn explain(report: &Report, plan: &Plan, arguments: &Arguments, voice: Voice) {
    let inputs: Vec<String> = arguments
        .words
        .iter()
        .map(|word| word.display().to_string())
        .collect();
    voice.say(1, &format!("build: {}", inputs.join(" ")));
    voice.say(1, "reading the supermin appliance");
    for file in &report.visited {
        voice.say(
            1,
            &format!("build: visiting {} type {}", file.path.display(), file.kind),
        );
    }
    voice.say(
        1,
        &format!(
            "build: {} packages, including dependencies",
            report.packages.len()
        ),
    );
    voice.list(2, &report.packages);
    if !report.missing.is_empty() {
        let missing = report.missing.join(" ");
        voice.say(
            1,
            &format!("build: not installed here, so ignored: {missing}"),
        );
    }
    voice.say(
        1,
        &format!(
            "build: {} paths dropped by excludefiles",
            report.excluded.len()
        ),
    );
    voice.list(2, report.excluded.iter().map(|path| path.display()));
    voice.say(
        1,
        &format!("build: {} files, after munging", plan.entries.len()),
    );
    if voice.level >= 3 {
        voice.list(3, plan.entries.iter().map(rehydrate::line));
    } else {
        voice.list(2, plan.entries.iter().map(|entry| entry.path.display()));
    }
    for notice in &report.notices {
        warn(notice);
    }
    for file in &report.unreadable {
        let path = file.path.display();
        warn(&format!("{path}: Permission denied (ignored)"));
    }
    for conflict in &report.conflicts {
        warn(&format!(
            "{}: left out: {}",
            conflict.path.display(),
            conflict.reason
        ));
    }
}

fn explain_kernel(prepared: &Prepared, voice: Voice) {
    let kernel::Selection { kernel, rejected } = &prepared.selection;
    for kernel in rejected {
        voice.say(2, &format!("kernel: not taken: {kernel}"));
    }
    voice.say(
        1,
        &format!("kernel: picked vmlinuz {}", kernel.image.display()),
    );
    voice.say(1, &format!("kernel: kernel_version {}", kernel.version));
    voice.say(1, &format!("kernel: modpath {}", kernel.modules.display()));
}
