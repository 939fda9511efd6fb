//! `freezedry sign`: signatures through the host's gpg or sq.

use super::{Status, notice};
use crate::Result;
use crate::package::sign::{self, Signer};
use std::path::PathBuf;

/// Sign packages (.rpm; .deb with --embed) and .dsc, .buildinfo and .changes
/// files in place, with the keys of gpg (or sq) and its agent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The key is that of --key, else of FREEZEDRY_SIGN_KEY, else gpg's default key.  Files that belong
together are signed in the right order, and the digests of those signed first are renewed in the
.buildinfo and .changes signed after them.  If one cannot be signed, none is changed.")]
pub(super) struct Arguments {
    /// What to sign
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The key: fingerprint, key ID or address; or a file with a secret key (sq)
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Put a signature into Debian packages (a member _gpgorigin, as debsigs does)
    #[arg(long)]
    embed: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let signer = Signer::new(arguments.key.as_deref())?;
    for path in sign::sign_in_place(&signer, &arguments.files, arguments.embed)? {
        notice(&format!("signed {}", path.display()));
    }
    Ok(Status::Success)
}
