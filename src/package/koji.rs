//! What Fedora's build system takes: a source RPM, and what goes with it.

use super::Named;
use super::source::Source;
use super::source_rpm;
use crate::family::Family;
use crate::{Result, templates};
use serde_json::json;
use sha2::{Digest, Sha512};

const COMMANDS: &str = include_str!("../../templates/koji-commands.sh.hbs");

/// The source RPM, the commands that build it, and `sources`, the list of
/// digests by which the lookaside cache knows the tarball.
pub fn build(source: &Source<'_>) -> Result<Vec<Named>> {
    let name = &source.description.name;
    let (srpm, bytes) = source_rpm::build(source, Family::Fedora)?;
    let data = json!({ "name": name, "srpm": srpm });
    let commands = templates::render("koji-commands.sh.hbs", COMMANDS, &data)?;
    let sources = format!(
        "SHA512 ({}) = {}\n",
        source.tarball_name(),
        super::hex(&Sha512::digest(&source.tarball))
    );
    Ok(vec![
        (srpm, bytes),
        ("koji-commands.sh".to_owned(), commands.into_bytes()),
        ("sources".to_owned(), sources.into_bytes()),
    ])
}
