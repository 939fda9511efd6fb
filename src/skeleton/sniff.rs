//! What a file of a skeleton is, judged by its content alone.

use crate::{Error, Result};
use std::fmt;

/// More than any real base image, little enough to survive a crafted one.
pub(super) const LIMIT: u64 = 4 << 30;

/// A kind of skeleton file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing in it.
    Empty,
    /// A tar archive.
    Tar,
    /// Package names, one a line.
    Packages,
    /// Host file patterns, one a line.
    HostFiles,
    /// Exclude patterns, one a line, each after a `-`.
    Excludes,
}

/// As supermin names them.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Tar => "base image (tar)",
            Self::Packages => "packages",
            Self::HostFiles => "hostfiles",
            Self::Excludes => "excludefiles",
        })
    }
}

/// The kind of `content`, which is not compressed; `name` is for the message.
pub(super) fn kind(name: &str, content: &[u8]) -> Result<Kind> {
    // The magic of POSIX and GNU tar lies at the end of the first header.
    if content.get(257..262) == Some(b"ustar") {
        return Ok(Kind::Tar);
    }
    if content.iter().all(|&byte| byte == 0) {
        // An archive without members is nothing but zero blocks.
        return Ok(Kind::Empty);
    }
    let problem = if content.starts_with(b"070701") || content.starts_with(b"070707") {
        "is a cpio archive"
    } else if content.contains(&0) {
        "is binary data of an unknown kind"
    } else {
        match content[0] {
            b'/' => return Ok(Kind::HostFiles),
            b'-' => return Ok(Kind::Excludes),
            first if first.is_ascii_alphanumeric() => return Ok(Kind::Packages),
            _ => "starts with neither a package name, a `/` nor a `-`",
        }
    };
    Err(
        Error::input(format!("the skeleton's file `{name}` {problem}")).hint(
            "a skeleton holds tar files (plain, gzip, xz or zstd) and lists of packages, \
             host files and excludes",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        for (content, expected) in [
            (&b""[..], Kind::Empty),
            (&[0; 1024], Kind::Empty),
            (&tar, Kind::Tar),
            (b"bash\ncoreutils\n", Kind::Packages),
            (b"389-ds\n", Kind::Packages),
            (b"/etc/ld.so.cache\n", Kind::HostFiles),
            (b"-/usr/share/doc/*\n", Kind::Excludes),
        ] {
            assert_eq!(kind("x", content).unwrap(), expected);
        }
        for bad in [&b"# comment\n"[..], b"\nbash\n", b"BZh9\0\x17", b"070701"] {
            let error = kind("oops", bad).unwrap_err().to_string();
            assert!(error.contains("`oops`"), "{error}");
        }
    }
}
