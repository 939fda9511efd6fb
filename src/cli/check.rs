//! `freezedry check`: every problem of a description at once.

use super::{Status, audit, describe};
use crate::description::{self, Problems};
use crate::host::Host;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Check descriptions and print every problem with its place and its cure
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 if there is no error (warnings are none), 1 if there is one."
)]
pub(super) struct Arguments {
    /// The descriptions
    #[arg(required = true, value_name = "FILE")]
    descriptions: Vec<PathBuf>,
    /// Look also at what the appliance would miss if it were rehydrated on this
    /// host: interpreters, libraries, commands, packages, kernel modules; and
    /// whether another package here has its name
    #[arg(long)]
    host: bool,
    /// Print the problems to standard output as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let host = if arguments.host {
        Some(Host::detect(Path::new("/"))?)
    } else {
        None
    };
    let mut status = Status::Success;
    let mut list: Vec<Value> = Vec::new();
    for path in &arguments.descriptions {
        let description = if arguments.json {
            let loaded = description::load(path);
            let problems = loaded
                .as_ref()
                .map_or_else(|problems| problems, |good| &good.warnings);
            list.extend(describe::as_json(path, problems));
            loaded.ok()
        } else {
            describe::load(path)
        };
        let Some(description) = description else {
            status = Status::Problems;
            continue;
        };
        let Some(host) = &host else { continue };
        let findings = audit::of_description(&description, host)?;
        let problems: Problems = audit::problems(path, &findings)?;
        if problems.has_errors() {
            status = Status::Problems;
        }
        if arguments.json {
            let details = findings.iter().map(audit::details);
            list.extend(describe::as_json(path, &problems).zip(details).map(
                |(mut problem, details)| {
                    for (key, value) in details {
                        problem[key] = value;
                    }
                    problem
                },
            ));
        } else {
            describe::print(&problems);
        }
    }
    if arguments.json {
        let text = serde_json::to_string_pretty(&json!(list))
            .map_err(|e| Error::input("the problems cannot be written as JSON").caused_by(e))?;
        println!("{text}");
    }
    Ok(status)
}
