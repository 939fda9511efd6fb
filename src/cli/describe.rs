//! What the commands that take a description share.

use super::notice;
use crate::description::{self, Description};
use crate::skeleton::Prepared;
use std::io::IsTerminal;
use std::path::Path;

/// The description at `path`; its problems are printed, and there is none if
/// one of them is an error.
pub(super) fn load(path: &Path) -> Option<Description> {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match description::load(path) {
        Ok(description) => {
            if !description.warnings.is_empty() {
                eprint!("{}", description.warnings.render(color));
            }
            Some(description)
        }
        Err(problems) => {
            eprint!("{}", problems.render(color));
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

/// Tells what a skeleton lacks that its author may expect.
pub(super) fn explain(prepared: &Prepared) {
    if !prepared.missing.is_empty() {
        notice(&format!(
            "{}, so their dependencies and configuration files are not known: {}",
            absent(prepared.plain),
            prepared.missing.join(", ")
        ));
    }
    if !prepared.edited.is_empty() {
        let names: Vec<String> = prepared
            .edited
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        notice(&format!(
            "edited on this machine, so left out (`freezedry prepare --download` gets the packages' \
             own; or put yours under `files`): {}",
            names.join(", ")
        ));
    }
    for note in &prepared.notes {
        notice(note);
    }
}
