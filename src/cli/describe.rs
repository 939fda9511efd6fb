//! What the commands that take a description share.

use super::notice;
use crate::description::{self, Description, Problems, Severity};
use crate::skeleton::Prepared;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;

/// The description at `path`; its problems are printed, and there is none if
/// one of them is an error.
pub(super) fn load(path: &Path) -> Option<Description> {
    match description::load(path) {
        Ok(description) => {
            print(&description.warnings);
            Some(description)
        }
        Err(problems) => {
            print(&problems);
            None
        }
    }
}

/// Why packages are missing.
pub(super) fn absent(plain: bool) -> &'static str {
    if plain {
        "no package database here that can be read (FREEZEDRY_PACKAGES may name one)"
    } else {
        "not installed here"
    }
}

/// Prints problems as a user reads them.
pub(super) fn print(problems: &Problems) {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", problems.render(color));
}

/// Problems as a program reads them.
pub(super) fn as_json(path: &Path, problems: &Problems) -> impl Iterator<Item = Value> {
    problems.list().iter().map(move |problem| {
        let (line, column) = problems.position(problem);
        json!({
            "file": path.to_string_lossy(),
            "line": line,
            "column": column,
            "severity": match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "kind": "description",
            "title": problem.title,
            "help": problem.help,
        })
    })
}

/// Tells what a skeleton lacks that its author may expect.
pub(super) fn explain(prepared: &Prepared) {
    if !prepared.missing.is_empty() {
        notice(&format!(
            "{}, so their dependencies and configuration files are not known: {}",
            absent(prepared.plain),
            prepared.missing.join(", ")
        ));
    }
    for (paths, why) in [
        (&prepared.edited, "edited on this machine"),
        (
            &prepared.unverifiable,
            "of a package whose kind of digest is not known",
        ),
    ] {
        if paths.is_empty() {
            continue;
        }
        let names: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        notice(&format!(
            "{why}, so left out (`freezedry prepare --download` gets the packages' own; or put \
             yours under `files`): {}",
            names.join(", ")
        ));
    }
    for note in &prepared.notes {
        notice(note);
    }
}
