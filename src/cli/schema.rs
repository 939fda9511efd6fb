//! `freezedry schema`: what editors need to help with a description.

use super::Status;
use crate::{Error, Result, description};

/// Print the JSON Schema of descriptions, for editors
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Editors with yaml-language-server find the schema by a first line such as\n\
    # yaml-language-server: $schema=file:///usr/share/freezedry/appliance.schema.json"
)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<Status> {
    let schema = serde_json::to_string_pretty(&description::schema())
        .map_err(|e| Error::input("the schema cannot be written as JSON").caused_by(e))?;
    println!("{schema}");
    Ok(Status::Success)
}
