//! The three digests that Debian's control files list.

use super::{Named, hex};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

/// Digests of a file, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksums {
    /// MD5.
    pub(super) md5: String,
    /// SHA-1.
    pub(super) sha1: String,
    /// SHA-256.
    pub(super) sha256: String,
}

impl Checksums {
    /// The digests of `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            md5: hex(&Md5::digest(bytes)),
            sha1: hex(&Sha1::digest(bytes)),
            sha256: hex(&Sha256::digest(bytes)),
        }
    }

    /// The lines of a field of a control file that lists `files` by one of the
    /// digests; `between` stands behind the size, before the name.
    pub(super) fn list(files: &[&Named], sum: fn(&Self) -> &str, between: &str) -> String {
        let line = |(name, bytes): &&Named| {
            let sums = Self::of(bytes);
            format!(" {} {}{between} {name}\n", sum(&sums), bytes.len())
        };
        files.iter().map(line).collect()
    }
}
