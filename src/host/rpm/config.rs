//! What has become of a configuration file.

use super::record::File;
use crate::files;
use crate::host::dpkg::hex;
use crate::host::packages::ConfigState;
use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use std::path::Path;

/// Numbers of digests: RFC 4880, 9.4, and rpm's `rpmcrypto.h`.
mod algorithm {
    pub(super) const MD5: u32 = 1;
    pub(super) const SHA256: u32 = 8;
    pub(super) const SHA384: u32 = 9;
    pub(super) const SHA512: u32 = 10;
    pub(super) const SHA224: u32 = 11;
}

/// Compares `real` with what its package brought; `algorithm` is whose digest
/// the package recorded.
pub(super) fn state(file: &File, algorithm: u32, real: &Path) -> ConfigState {
    if file.ghost {
        return ConfigState::Ghost;
    }
    let Ok(meta) = real.symlink_metadata() else {
        return ConfigState::Missing;
    };
    let same = |same: bool| {
        if same {
            ConfigState::Pristine
        } else {
            ConfigState::Edited
        }
    };
    if !file.digest.is_empty() {
        if !meta.is_file() {
            return ConfigState::Edited;
        }
        return match files::read(real) {
            Err(_) => ConfigState::Unreadable,
            Ok(content) => match digest(algorithm, &content) {
                Some(digest) => same(digest == file.digest),
                None => ConfigState::Unverifiable,
            },
        };
    }
    if file.target.as_os_str().is_empty() {
        // Directories and the like have no content to edit.
        return same(!meta.is_file() && !meta.is_symlink());
    }
    same(std::fs::read_link(real).is_ok_and(|target| target == file.target))
}

/// The digest of `content` in hexadecimal; `None` if this program does not know
/// the algorithm.
fn digest(algorithm: u32, content: &[u8]) -> Option<String> {
    Some(match algorithm {
        0 | algorithm::MD5 => hex(&Md5::digest(content)),
        algorithm::SHA224 => hex(&Sha224::digest(content)),
        algorithm::SHA256 => hex(&Sha256::digest(content)),
        algorithm::SHA384 => hex(&Sha384::digest(content)),
        algorithm::SHA512 => hex(&Sha512::digest(content)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn each_kind_of_file_can_be_as_its_package_had_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        files::write(path("file"), "x").unwrap();
        symlink("file", path("link")).unwrap();
        let md5 = "9dd4e461268c8034f5c8564e155c67a6";
        let config = |digest: &str, target: &str| File {
            config: true,
            digest: digest.into(),
            target: target.into(),
            ..File::default()
        };
        let ghost = File {
            ghost: true,
            ..config("", "")
        };
        for (name, file, algorithm, expected) in [
            ("file", config(md5, ""), 0, ConfigState::Pristine),
            ("file", config(md5, ""), 8, ConfigState::Edited),
            ("file", config(md5, ""), 2, ConfigState::Unverifiable),
            ("none", config(md5, ""), 1, ConfigState::Missing),
            // A file became a link, and the other way round.
            ("link", config(md5, ""), 1, ConfigState::Edited),
            ("file", config("", "file"), 8, ConfigState::Edited),
            ("link", config("", "file"), 8, ConfigState::Pristine),
            ("link", config("", "other"), 8, ConfigState::Edited),
            ("", config("", ""), 8, ConfigState::Pristine),
            ("file", config("", ""), 8, ConfigState::Edited),
            ("file", ghost.clone(), 8, ConfigState::Ghost),
            ("none", ghost, 8, ConfigState::Ghost),
        ] {
            let state = state(&file, algorithm, &path(name));
            assert_eq!(state, expected, "{name} {file:?} {algorithm}");
        }
    }
}
