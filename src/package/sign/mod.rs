//! Signing through the host's own programs: gpg, or sq where there is no gpg.
//!
//! No secret key passes through here: the host's agent holds it, and asks for
//! the passphrase itself.

mod control;
mod deb;
mod program;
mod rpm;

pub use program::Signer;
pub(super) use program::installed;

use super::read::{self, Format};
use crate::{Error, Result, files};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What a file is, for signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Signed inside.
    Rpm,
    /// Signed inside, if that is asked for.
    Deb,
    /// Signed as a text, before the next two, which have its digest.
    Dsc,
    /// Signed as a text, before the last, which has its digest.
    Buildinfo,
    /// Signed as a text.
    Changes,
}

/// Signs `paths` in place, see [`sign`]; returns what was signed, in that order.
///
/// Everything is signed before anything is replaced, and each file as a whole; one
/// that is named twice, or by a link, is signed once.  What would be signed with a
/// digest that is no longer that of the file beside it is refused.
pub fn sign_in_place(signer: &Signer, paths: &[PathBuf], embed: bool) -> Result<Vec<PathBuf>> {
    let mut real = BTreeSet::new();
    let mut given = Vec::new();
    for path in paths {
        let bytes = files::read(path)?;
        let same = std::fs::canonicalize(path).map_err(|e| Error::io("cannot find", path, e))?;
        if real.insert(same) {
            given.push((path.clone(), bytes));
        }
    }
    let names: BTreeSet<OsString> = given
        .iter()
        .filter_map(|(path, _)| path.file_name().map(OsStr::to_owned))
        .collect();
    for (path, bytes) in &given {
        if kind(path, bytes)? >= Kind::Dsc {
            control::check_beside(path, bytes, &names)?;
        }
    }
    let signed = sign(signer, given, embed)?;
    for (path, bytes) in &signed {
        files::replace(path, bytes)?;
    }
    Ok(signed.into_iter().map(|(path, _)| path).collect())
}

/// Signs files, given as path and bytes: RPM packages in their header, `.dsc`,
/// `.buildinfo` and `.changes` as clear text, and with `embed` Debian packages
/// by a member `_gpgorigin`.
///
/// Digests of what is signed are renewed in a `.buildinfo` or `.changes` that is
/// signed too; therefore the order of the result is that of signing.
pub fn sign(
    signer: &Signer,
    files: Vec<(PathBuf, Vec<u8>)>,
    embed: bool,
) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut kinds = Vec::new();
    for (path, bytes) in files {
        let kind = kind(&path, &bytes)?;
        if kind == Kind::Deb && !embed {
            return Err(Error::input(format!(
                "`{}` is a Debian package, which is signed by its .changes or its repository",
                path.display()
            ))
            .hint("sign the .changes file, or use --embed for a signature inside the package"));
        }
        kinds.push((kind, path, bytes));
    }
    kinds.sort_by_key(|(kind, ..)| *kind);
    let mut signed: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for (kind, path, bytes) in kinds {
        let name = path.display().to_string();
        let new = match kind {
            Kind::Rpm => rpm::sign(signer, &name, &bytes)?,
            Kind::Deb => deb::sign(signer, &name, &bytes)?,
            Kind::Dsc | Kind::Buildinfo | Kind::Changes => {
                control::sign(signer, &name, &bytes, &signed)?
            }
        };
        signed.push((path, new));
    }
    Ok(signed)
}

fn kind(path: &Path, bytes: &[u8]) -> Result<Kind> {
    match read::format(bytes) {
        Some(Format::Rpm) => return Ok(Kind::Rpm),
        Some(Format::Deb) => return Ok(Kind::Deb),
        None => {}
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("dsc") => Ok(Kind::Dsc),
        Some("buildinfo") => Ok(Kind::Buildinfo),
        Some("changes") => Ok(Kind::Changes),
        _ => Err(Error::input(format!(
            "`{}` is nothing that can be signed",
            path.display()
        ))
        .hint("give RPM or Debian packages, or .dsc, .buildinfo or .changes files")),
    }
}
