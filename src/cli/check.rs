//! `freezedry check`: every problem of a description at once.

use super::{Status, describe};
use crate::Result;
use std::path::PathBuf;

/// Check descriptions and print every problem with its place and its cure
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The descriptions
    #[arg(required = true, value_name = "FILE")]
    descriptions: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let mut status = Status::Success;
    for path in &arguments.descriptions {
        if describe::load(path).is_none() {
            status = Status::Problems;
        }
    }
    Ok(status)
}
