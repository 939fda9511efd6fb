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

/// Tells what a skeleton lacks that its author may expect.
pub(super) fn explain(prepared: &Prepared) {
    if !prepared.missing.is_empty() {
        notice(&format!(
            "not installed here, so their dependencies and configuration files are not known: {}",
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
            "{why}, so left out (put your own under `files`): {}",
            names.join(", ")
        ));
    }
}
