//! What a file of a skeleton is, judged by its content alone.

use super::{cpio, list};
use crate::{Error, Result};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// More than any real base image, little enough to survive a crafted one.
pub(super) const LIMIT: u64 = 4 << 30;

/// A kind of skeleton file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing in it, or comments alone.
    Empty,
    /// A tar archive.
    Tar,
    /// A cpio archive, or several.
    Cpio,
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
            Self::Cpio => "base image (cpio)",
            Self::Packages => "packages",
            Self::HostFiles => "hostfiles",
            Self::Excludes => "excludefiles",
        })
    }
}

/// What a file starts with that some programs would take for a list.
const FOREIGN: [(&[u8], &str); 6] = [
    (b"BZh", "is compressed with bzip2"),
    (b"\x04\x22\x4d\x18", "is compressed with lz4"),
    (b"PK\x03\x04", "is a zip archive"),
    (b"7z\xbc\xaf", "is a 7z archive"),
    (b"!<arch>\n", "is an ar archive or a Debian package"),
    (b"\xed\xab\xee\xdb", "is an RPM package"),
];

/// The kind of `content`, which is not compressed; `name` is for the message.
pub(super) fn kind(name: &str, content: &[u8]) -> Result<Kind> {
    if is_tar(content) {
        return Ok(Kind::Tar);
    }
    if content.iter().all(|&byte| byte == 0) {
        // A tar archive without members is nothing but zero blocks.
        return Ok(Kind::Empty);
    }
    if cpio::is_archive(content) {
        return Ok(Kind::Cpio);
    }
    let foreign = FOREIGN.iter().find(|(start, _)| content.starts_with(start));
    let problem = if let Some((_, problem)) = foreign {
        problem
    } else if content.contains(&0) {
        "is binary data of an unknown kind"
    } else {
        match list(content) {
            Ok(kind) => return Ok(kind),
            Err(problem) => problem,
        }
    };
    Err(
        Error::input(format!("the skeleton's file `{name}` {problem}")).hint(
            "a skeleton holds tar and cpio files (plain, gzip, xz, lzma or zstd) and lists of \
             packages, host files and excludes",
        ),
    )
}

/// The kind of a list, by the first line that means something.
fn list(content: &[u8]) -> Result<Kind, &'static str> {
    let Some(first) = list::lines(content).lines.first().copied() else {
        return Ok(Kind::Empty);
    };
    match first.as_bytes()[0] {
        // supermin 4 also takes `./etc/issue`.
        b'/' => Ok(Kind::HostFiles),
        b'.' if first.as_bytes().starts_with(b"./") => Ok(Kind::HostFiles),
        b'-' => Ok(Kind::Excludes),
        byte if byte.is_ascii_alphanumeric() => {
            let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
            if content.iter().any(control) {
                return Err("is binary data of an unknown kind");
            }
            Ok(Kind::Packages)
        }
        _ => Err("starts with neither a package name, a `/` nor a `-`"),
    }
}

/// Whether `content` begins with the header of a tar archive: of POSIX or GNU
/// by its magic, of Unix V7 by its checksum.
///
/// Source: <https://www.gnu.org/software/tar/manual/html_node/Standard.html>.
fn is_tar(content: &[u8]) -> bool {
    if content.get(257..262) == Some(b"ustar") {
        return true;
    }
    let Some(header) = content.get(..512) else {
        return false;
    };
    let field = &header[148..156];
    let digits = field.iter().filter(|byte| (b'0'..=b'7').contains(byte));
    let value = digits.fold(0, |sum, &byte| sum * 8 + u32::from(byte - b'0'));
    // The field itself counts as blanks.
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let expected = sum(header) - sum(field) + 8 * u32::from(b' ');
    let shaped = field
        .iter()
        .all(|byte| matches!(byte, b'0'..=b'7' | b' ' | 0));
    shaped && header[0] != 0 && value == expected
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn content_decides() {
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        for (content, expected) in [
            (&b""[..], Kind::Empty),
            (&[0; 1024], Kind::Empty),
            (b"# nothing\n\n", Kind::Empty),
            (&tar, Kind::Tar),
            (b"070701", Kind::Cpio),
            (b"070702", Kind::Cpio),
            (b"070707", Kind::Cpio),
            (b"bash\ncoreutils\n", Kind::Packages),
            (b"389-ds\n", Kind::Packages),
            (b"070-package\n", Kind::Packages),
            (b"\n# comment\nbash\n", Kind::Packages),
            (b"\xef\xbb\xbfbash\r\n", Kind::Packages),
            (b"/etc/ld.so.cache\n", Kind::HostFiles),
            (b"./etc/ld.so.cache\n", Kind::HostFiles),
            (b"/etc/\xff\n", Kind::HostFiles),
            (b"-/usr/share/doc/*\n", Kind::Excludes),
            (b"/", Kind::HostFiles),
            (b"-", Kind::Excludes),
        ] {
            assert_eq!(kind("x", content).unwrap(), expected, "{content:?}");
        }
        for (bad, problem) in [
            (&b"_bash\n"[..], "starts with neither"),
            (b"BZh91AY&SY\x17", "bzip2"),
            (b"PK\x03\x04\x14", "zip archive"),
            (b"!<arch>\ndebian-binary", "Debian package"),
            (b"name\0", "binary data"),
            (b"name\x01", "binary data"),
        ] {
            let error = kind("oops", bad).unwrap_err().to_string();
            assert!(error.contains("`oops`"), "{error}");
            assert!(error.contains(problem), "{error}");
        }
    }

    /// GNU tar is the judge of its own formats.
    #[test]
    fn every_tar_is_a_tar() {
        for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
            let output = std::process::Command::new("tar")
                .arg(format!("--format={format}"))
                .args(["-cf", "-", "--no-recursion", "/etc", "/etc/passwd"])
                .output();
            let Ok(output) = output else { return };
            assert_eq!(kind("x", &output.stdout).unwrap(), Kind::Tar, "{format}");
            let members = crate::skeleton::unpack("x", &output.stdout).unwrap();
            let kinds: Vec<_> = members.iter().map(|m| m.path.to_str().unwrap()).collect();
            assert_eq!(kinds, ["/etc", "/etc/passwd"]);
            assert_eq!(members[0].node, crate::node::Node::Directory, "{format}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = kind("x", &bytes);
        }
    }
}
