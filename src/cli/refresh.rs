//! `freezedry refresh`: shared appliances become what the installed packages are.

use super::{Status, notice, print_error, rehydrate};
use crate::Result;
use crate::appliance::{Freshness, Readers, shared};
use crate::host::Host;
use std::path::Path;

/// Bring shared appliances (`rehydrate: at-install`) up to date with the
/// installed packages
///
/// Packages do this by themselves when they are installed and whenever another
/// package changes. An appliance is made anew only if something that goes into
/// it has changed; until then, and if that fails, the old one stays.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Shared appliances; all that are installed if none is named
    names: Vec<String>,
    /// Say what was done and why
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let names = match &arguments.names[..] {
        [] => shared::names(),
        names => names.to_vec(),
    };
    if names.is_empty() {
        notice("no installed package has a shared appliance");
    }
    let host = Host::detect(Path::new("/"))?;
    let mut status = Status::Success;
    for name in names {
        let waiting = &mut |lock: &Path| {
            notice(&format!(
                "another process refreshes this appliance; waiting for `{}`",
                lock.display()
            ));
        };
        match shared::refresh(&name, &host, waiting) {
            Ok(freshness) => explain(&name, &freshness, arguments.verbose),
            // The next one may well succeed.
            Err(error) => {
                print_error(&error);
                status = Status::Problems;
            }
        }
    }
    Ok(status)
}

fn explain(name: &str, freshness: &Freshness, verbose: bool) {
    let Freshness::Made {
        reason,
        rehydration,
    } = freshness
    else {
        if verbose {
            notice(&format!("`{name}` is up to date"));
        }
        return;
    };
    let report = &rehydration.report;
    if verbose {
        notice(&format!("`{name}` was made, because {reason}"));
        rehydrate::explain(rehydration, Readers::Everybody);
        return;
    }
    if !report.missing.is_empty() {
        notice(&format!(
            "`{name}` lacks what is not installed here: {}",
            report.missing.join(", ")
        ));
    }
    if !report.unreadable.is_empty() {
        let paths: Vec<String> = report
            .unreadable
            .iter()
            .map(|file| file.path.display().to_string())
            .collect();
        notice(&format!(
            "`{name}` is for everybody, so what not everybody may read is left empty: {}",
            paths.join(", ")
        ));
    }
}
