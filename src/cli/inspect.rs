//! `freezedry inspect`: what a package, a skeleton or an appliance is.

use super::{Status, rehydrate};
use crate::appliance::Standing;
use crate::host::Host;
use crate::package::inspect::{
    ApplianceReport, Here, Looker, PackageReport, Report, SkeletonReport,
};
use crate::package::read::{Format, PackagedPath, Signature, Verdict};
use crate::{Error, Result, error::Kind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Show what a package (.deb or .rpm, anybody's), a skeleton or an appliance
/// is, whether it is sound, and what it would become on this host
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 it is sound; 1 it is damaged, is a skeleton without an /init, or could not be read;
2 wrong usage.

Keys of --json, which stay: `kind` is package, skeleton or appliance.
  package    format, metadata (name, version, architecture, summary, description, license,
             maintainer, homepage, other), relations (depends, requires, ...: lists), scripts
             (name, triggers, interpreter, text), sizes (package, payload, installed), digests
             (of, algorithm, good, expected), signatures (place, algorithm, hash, key, created,
             verdict, signer, checked_by), files (by path: kind, mode, owner, group, size, sha256,
             target, flags), skeletons (a list of the next)
  skeleton   path, packages, hostfiles, excludefiles, init (whether there is an /init), archives
             (by name: members as in files), here (packages, missing, paths, bytes, excluded, unreadable, kernel) or not_here
  appliance  path, kernel, uuid, files (by name: apparent, real), stamp, skeleton,
             standing (fresh, unaffected, stale)
Sizes are in bytes, times in seconds since 1970; a verdict is good, key-not-valid, bad,
unknown-key or not-checked.")]
pub(super) struct Arguments {
    /// A package, a skeleton or an appliance; its content decides
    #[arg(value_name = "PACKAGE|SKELETON|APPLIANCE")]
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The skeleton that an appliance was made from; by default that of the
    /// installed package of its name
    #[arg(long, value_name = "DIR")]
    skeleton: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let report = look(&arguments.path, arguments.skeleton.clone())?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print(|out| match &report {
            Report::Package(report) => print_package(out, report),
            Report::Skeleton(report) => print_skeleton(out, report),
            Report::Appliance(report) => print_appliance(out, report),
        })?;
    }
    Ok(match &report {
        Report::Package(report) if !report.package.is_sound() => Status::Problems,
        Report::Skeleton(report) if !report.init => Status::Problems,
        _ => Status::Success,
    })
}

/// Inspects `path` with all that this host knows.
pub(super) fn look(path: &Path, skeleton: Option<PathBuf>) -> Result<Report> {
    // A package can be looked at on any machine.
    let host = Host::detect(Path::new("/")).ok();
    let looker = Looker {
        host: host.as_ref(),
        kernel: rehydrate::kernel_request(),
        skeleton,
    };
    looker.inspect(path)
}

/// Prints to standard output.
pub(super) fn print(text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    text(&mut out)
        .and_then(|()| out.flush())
        .map_err(|e| Error::io("cannot write", "standard output", e))
}

pub(super) fn print_json(thing: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(thing)
        .map_err(|e| Error::new(Kind::System, "cannot write JSON").caused_by(e))?;
    print(|out| writeln!(out, "{text}"))
}

/// `title`, aligned, and what there is to say; nothing if that is nothing.
fn row(out: &mut dyn Write, title: &str, text: &str) -> std::io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    for (number, line) in text.lines().enumerate() {
        let title = if number == 0 { title } else { "" };
        writeln!(out, "{title:<13} {}", clean(line))?;
    }
    Ok(())
}

/// Text of a stranger for a terminal: without control characters.
pub(super) fn clean(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

/// A size with its unit, as people read it: `512`, `1.2 kB`, `34.5 MB`.
fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return bytes.to_string();
    }
    let units = [("kB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000)];
    let tenths = |factor: u64| bytes.saturating_add(factor / 20) / (factor / 10);
    let (unit, factor) = units
        .into_iter()
        .find(|(_, factor)| tenths(*factor) < 10_000)
        .unwrap_or(units[2]);
    format!("{}.{} {unit}", tenths(factor) / 10, tenths(factor) % 10)
}

fn print_package(out: &mut dyn Write, report: &PackageReport) -> std::io::Result<()> {
    let package = &report.package;
    let metadata = &package.metadata;
    let format = match package.format {
        Format::Deb => "deb",
        Format::Rpm => "rpm",
    };
    let title = format!(
        "{} {} ({}, {format})",
        metadata.name, metadata.version, metadata.architecture
    );
    row(out, "package", &title)?;
    row(out, "summary", &metadata.summary)?;
    row(
        out,
        "license",
        metadata.license.as_deref().unwrap_or_default(),
    )?;
    row(
        out,
        "maintainer",
        metadata.maintainer.as_deref().unwrap_or_default(),
    )?;
    row(
        out,
        "homepage",
        metadata.homepage.as_deref().unwrap_or_default(),
    )?;
    let sizes = &package.sizes;
    let text = format!(
        "{}, of it {} of compressed files; {} installed",
        size(sizes.package),
        size(sizes.payload),
        size(sizes.installed)
    );
    row(out, "size", &text)?;
    for (relation, list) in &package.relations {
        // What rpm itself has to be able to do is of no interest here.
        let list: Vec<&str> = list
            .iter()
            .map(String::as_str)
            .filter(|name| !name.starts_with("rpmlib("))
            .collect();
        row(out, relation, &list.join(", "))?;
    }
    let scripts: Vec<String> = package
        .scripts
        .iter()
        .map(|script| match &script.triggers[..] {
            [] => script.name.clone(),
            triggers => format!("{} ({})", script.name, triggers.join(", ")),
        })
        .collect();
    row(out, "scripts", if scripts.is_empty() { "none" } else { "" })?;
    row(out, "scripts", &scripts.join(", "))?;
    let digests: Vec<String> = package
        .digests
        .iter()
        .map(|digest| {
            let state = if digest.good { "good" } else { "WRONG" };
            format!("{} {} {state}", digest.of, digest.algorithm)
        })
        .collect();
    row(out, "digests", &digests.join(", "))?;
    row(
        out,
        "signature",
        if package.signatures.is_empty() {
            "none"
        } else {
            ""
        },
    )?;
    for signature in &package.signatures {
        row(out, "signature", &signature_text(signature))?;
    }
    print_files(out, "files", &package.files)?;
    for skeleton in &report.skeletons {
        writeln!(out)?;
        print_skeleton(out, skeleton)?;
    }
    Ok(())
}

fn signature_text(signature: &Signature) -> String {
    let packet = &signature.packet;
    let state = match signature.verdict {
        Verdict::Good => "good",
        Verdict::KeyNotValid => "good, but the key has expired or is revoked",
        Verdict::Bad => "BAD: it is not of this package",
        Verdict::UnknownKey => "not checked: this host does not have the key",
        Verdict::NotChecked => "not checked: neither rpmkeys nor gpg could",
    };
    let signer = match &signature.signer {
        Some(signer) => format!(" of {signer}"),
        None => String::new(),
    };
    let by = match &signature.checked_by {
        Some(program) => format!(" ({program})"),
        None => String::new(),
    };
    format!(
        "{}: {}/{}, key {}{signer}: {state}{by}",
        signature.place, packet.algorithm, packet.hash, packet.key
    )
}

/// In the manner of `ls -l`.
fn print_files(
    out: &mut dyn Write,
    title: &str,
    files: &BTreeMap<String, PackagedPath>,
) -> std::io::Result<()> {
    row(out, title, &files.len().to_string())?;
    for (path, file) in files {
        let letter = match file.kind {
            "directory" => 'd',
            "symlink" => 'l',
            "hardlink" => 'h',
            "special" => 's',
            _ => '-',
        };
        let target = match &file.target {
            Some(target) => format!(" -> {}", clean(target)),
            None => String::new(),
        };
        writeln!(
            out,
            "  {letter}{} {}:{} {:>9} {}{target}",
            file.mode,
            clean(&file.owner),
            clean(&file.group),
            file.size,
            clean(path)
        )?;
    }
    Ok(())
}

fn print_skeleton(out: &mut dyn Write, report: &SkeletonReport) -> std::io::Result<()> {
    row(out, "skeleton", &report.path)?;
    row(out, "packages", &report.packages.join(" "))?;
    row(out, "hostfiles", &report.hostfiles.join(" "))?;
    row(out, "excludefiles", &report.excludefiles.join(" "))?;
    if !report.init {
        row(
            out,
            "init",
            "none: no archive has /init, so nothing would run",
        )?;
    }
    for (name, members) in &report.archives {
        print_files(out, name, members)?;
    }
    if let Some(here) = &report.here {
        print_here(out, here)?;
    }
    let not_here = report.not_here.as_deref().unwrap_or_default();
    row(out, "not here", not_here)
}

fn print_here(out: &mut dyn Write, here: &Here) -> std::io::Result<()> {
    let text = format!(
        "{} packages with those they depend on, {} paths, {} of files, {} excluded; kernel {}",
        here.packages.len(),
        here.paths,
        size(here.bytes),
        here.excluded,
        here.kernel
    );
    row(out, "here", &text)?;
    row(out, "missing here", &here.missing.join(" "))?;
    if here.unreadable > 0 {
        let text = format!("{} files, which would be empty", here.unreadable);
        row(out, "unreadable", &text)?;
    }
    Ok(())
}

fn print_appliance(out: &mut dyn Write, report: &ApplianceReport) -> std::io::Result<()> {
    row(out, "appliance", &report.path)?;
    row(
        out,
        "kernel",
        report.kernel.as_deref().unwrap_or("of unknown version"),
    )?;
    row(out, "uuid", &report.uuid)?;
    for (name, sizes) in &report.files {
        let text = format!("{}, on the disk {}", size(sizes.apparent), size(sizes.real));
        row(out, name, &text)?;
    }
    row(out, "stamp", report.stamp.as_deref().unwrap_or("none"))?;
    let text = match (&report.standing, &report.skeleton, &report.stamp) {
        (Some(Standing::Fresh), Some(skeleton), _) => {
            format!("yes: nothing has changed since it was made from {skeleton}")
        }
        (Some(Standing::Unaffected), Some(skeleton), _) => {
            format!("yes: this host has changed, but nothing that {skeleton} wants")
        }
        (Some(Standing::Stale), Some(skeleton), _) => {
            format!("no: {skeleton} would give another one here, with the default options")
        }
        (_, _, None) => "not known: it has no stamp of Freezedry's cache".to_owned(),
        _ => "not known: name its skeleton with --skeleton".to_owned(),
    };
    row(out, "fresh", &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0 kB"),
            (34_512_345, "34.5 MB"),
            (4 << 30, "4.3 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_stranger_cannot_drive_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb"), "a\u{fffd}[31mb");
    }
}
