//! Configuration files and the checksums that package databases keep of them.

use super::dpkg::hex;
use super::packages::ConfigState;
use crate::files;
use crate::glob::below;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use std::path::Path;

/// Whether `path` is a configuration file where the database does not say:
/// one below /etc that is a regular file now, as supermin has it.
pub(super) fn is_config(root: &Path, path: &Path) -> bool {
    path.starts_with("/etc")
        && below(root, path)
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_file())
}

/// What has become of the file `real` that had `digest`; `None` for what is no
/// regular file, by the rule of [`is_config`].
pub(super) fn state(real: &Path, digest: &str) -> Option<ConfigState> {
    let Ok(meta) = real.symlink_metadata() else {
        return Some(ConfigState::Missing);
    };
    meta.is_file().then(|| match files::read(real) {
        Err(_) => ConfigState::Unreadable,
        Ok(content) if matches(&content, digest) => ConfigState::Pristine,
        Ok(_) => ConfigState::Edited,
    })
}

/// Whether `content` has `digest`, in lower-case hexadecimal: an MD5, SHA-1 or
/// SHA-256 by its length.  One of another length matches nothing.
pub(super) fn matches(content: &[u8], digest: &str) -> bool {
    digest
        == match digest.len() {
            32 => hex(&Md5::digest(content)),
            40 => hex(&Sha1::digest(content)),
            64 => hex(&Sha256::digest(content)),
            _ => return false,
        }
}
