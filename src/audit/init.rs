//! What the description runs: whether its first words can be run at all.

use super::cure::Cures;
use super::inside::{Inside, Lookup, PATH, is_file};
use super::walk::{Cause, Walk};
use super::{Finding, Kind, Place, Severity, Subject, script};
use crate::Result;
use crate::appliance::plan::Entry;
use crate::description::{self, Init};
use std::path::{Path, PathBuf};

/// Looks at what the description runs; what is wrong with its very first words
/// comes back as findings.
pub(super) fn look(
    walk: &mut Walk<'_>,
    subject: &Subject<'_>,
    cures: &Cures<'_>,
) -> Result<Vec<Finding>> {
    let inside = walk.inside;
    let mut findings = Vec::new();
    let cause = |place| Cause {
        severity: Severity::Error,
        place,
    };
    if let Some(entry) = inside.find(Path::new("/init")) {
        walk.program(entry, &cause(Place::Packages));
        // Made by Freezedry, and with care for what is not there.
        walk.forget_scripts();
    }
    match &subject.description.boot.init {
        Init::Systemd => match inside.find(Path::new("/sbin/init")) {
            Some(entry) => walk.program(entry, &cause(Place::Init)),
            None => findings.push(finding(
                Severity::Error,
                "/sbin/init",
                "`boot.init`: `systemd` runs `/sbin/init`, which is not in the appliance".into(),
                cures.path_or(Path::new("/sbin/init"), || {
                    "add `systemd-sysv` (Debian) or `systemd` (elsewhere) to `packages`".into()
                })?,
            )),
        },
        Init::Shell => {
            for shell in ["/bin/bash", "/bin/sh"] {
                if let Some(entry) = inside.find(Path::new(shell)) {
                    walk.program(entry, &cause(Place::Init));
                }
            }
        }
        Init::Command(line) => {
            for (number, word) in script::commands(line).iter().enumerate() {
                // Whether the others run depends on those before them.
                let first = number == 0 && is_first_word(line, word);
                let severity = if first {
                    Severity::Error
                } else {
                    Severity::Warning
                };
                findings.extend(command(word, severity, walk, subject, cures)?);
            }
        }
    }
    for file in &subject.description.files {
        if let Some(entry) = inside.find(&file.path)
            && file.mode & 0o111 != 0
        {
            let place = Place::File(file.path.clone());
            let severity = Severity::Warning;
            walk.program(entry, &Cause { severity, place });
        }
    }
    walk.calls(cures)?;
    Ok(findings)
}

/// Looks at a command of `boot.init`, and says what keeps it from running.
fn command(
    word: &str,
    severity: Severity,
    walk: &mut Walk<'_>,
    subject: &Subject<'_>,
    cures: &Cures<'_>,
) -> Result<Option<Finding>> {
    let (path, title, help) = match find_command(walk.inside, word) {
        Ok(Some(entry)) => {
            let place = Place::Init;
            walk.program(entry, &Cause { severity, place });
            return Ok(None);
        }
        Ok(None) => {
            return no_command(word, severity, walk.inside, subject, cures).map(Some);
        }
        Err(Obstacle::Unknown) => return Ok(None),
        Err(Obstacle::NoFile(path)) => {
            let title = format!(
                "`boot.init`: `{}` is no program but a directory, or a device",
                path.display()
            );
            (path, title, "name the program in it".to_owned())
        }
        Err(Obstacle::NotExecutable(path)) => {
            let own = subject
                .description
                .files
                .iter()
                .any(|file| file.path == path);
            let help = if own {
                "add `mode: \"0755\"` to it in `files`".to_owned()
            } else {
                format!("write, for example, `sh {word}`, if it is a script")
            };
            (
                path.clone(),
                format!("`boot.init`: `{}` is not executable", path.display()),
                help,
            )
        }
    };
    Ok(Some(finding(
        severity,
        &path.display().to_string(),
        title,
        help,
    )))
}

/// The program that `word` means; the error says what is in its way.
pub(super) fn find_command<'a>(
    inside: &Inside<'a>,
    word: &str,
) -> Result<Option<&'a Entry>, Obstacle> {
    let check = |entry: &'a Entry| {
        if !is_file(entry) {
            Err(Obstacle::NoFile(entry.path.clone()))
        } else if entry.mode & 0o111 == 0 {
            Err(Obstacle::NotExecutable(entry.path.clone()))
        } else {
            Ok(Some(entry))
        }
    };
    if word.contains('/') {
        return match inside.look(Path::new(word)) {
            Lookup::There(entry) => check(entry),
            Lookup::Unknown => Err(Obstacle::Unknown),
            Lookup::Missing(_) => Ok(None),
        };
    }
    if let Some(entry) = inside.command(word) {
        return Ok(Some(entry));
    }
    let mut there = PATH
        .iter()
        .filter_map(|directory| inside.find(&Path::new(directory).join(word)));
    there.next().map_or(Ok(None), check)
}

/// Why something that is there cannot be run.
pub(super) enum Obstacle {
    NoFile(PathBuf),
    NotExecutable(PathBuf),
    /// Nobody knows what will be there.
    Unknown,
}

/// Whether a command line starts with `word`, but for assignments and `exec`.
fn is_first_word(line: &str, word: &str) -> bool {
    let mut words = line
        .split_whitespace()
        .skip_while(|other| *other == "exec" || other.contains('='));
    words
        .next()
        .is_some_and(|first| first.trim_matches(['"', '\'']).trim_end_matches(';') == word)
}

fn finding(severity: Severity, missing: &str, title: String, help: String) -> Finding {
    Finding {
        severity,
        kind: Kind::Init,
        place: Place::Init,
        title,
        help,
        missing: missing.to_owned(),
        wanted_by: Vec::new(),
    }
}

/// No command `word` is in the appliance.
fn no_command(
    word: &str,
    severity: Severity,
    inside: &Inside<'_>,
    subject: &Subject<'_>,
    cures: &Cures<'_>,
) -> Result<Finding> {
    let unknown = &subject.report.missing;
    let here = cures.has_command(word)?;
    let names: Vec<&str> = inside.commands().collect();
    let help = if here {
        cures.command(word)?
    } else if !unknown.is_empty() {
        format!(
            "it may be in what is not installed here: {}",
            unknown.join(", ")
        )
    } else if let Some(near) = description::nearest(word, &names) {
        format!("did you mean `{near}`?")
    } else {
        "no package of this host has it; install the one that does and add it to `packages`, or put the program into `files`".into()
    };
    let severity = if here || unknown.is_empty() {
        severity
    } else {
        Severity::Warning
    };
    let title = format!("`boot.init`: `{word}` is not in the appliance");
    Ok(finding(severity, word, title, help))
}
