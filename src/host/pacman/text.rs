//! The text files of pacman's local database.
//!
//! Sources: alpm-db(7), alpm-db-desc(5), alpm-db-files(5), mtree(5).

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The sections of a `desc` or `files` file: `%KEY%`, then lines until an
/// empty one.  Lines outside a section are passed over.
pub(super) fn sections(text: &[u8]) -> HashMap<&[u8], Vec<&[u8]>> {
    let mut sections: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
    let mut current = None;
    for line in text.split(|&byte| byte == b'\n') {
        let key = line
            .strip_prefix(b"%")
            .and_then(|rest| rest.strip_suffix(b"%"));
        match (key, current) {
            _ if line.is_empty() => current = None,
            (Some(key), None) => {
                sections.entry(key).or_default();
                current = Some(key);
            }
            (_, Some(key)) => sections.entry(key).or_default().push(line),
            (None, None) => {}
        }
    }
    sections
}

/// The regular files of an `mtree` and the digest of each, in hexadecimal:
/// SHA-256, or MD5 where there is no better one.
pub(super) fn mtree(text: &[u8]) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut default = true; // whether `type` is `file` where a line says none
    for line in text.split(|&byte| byte == b'\n') {
        let mut words = line.split(|&byte| byte == b' ').filter(|w| !w.is_empty());
        let name = words.next().unwrap_or_default();
        let mut regular = default;
        let (mut sha256, mut md5) = (None, None);
        for word in words {
            let word = String::from_utf8_lossy(word);
            match word.split_once('=') {
                Some(("type", kind)) => regular = kind == "file",
                Some(("sha256digest" | "sha256", digest)) => sha256 = Some(digest.to_owned()),
                Some(("md5digest" | "md5", digest)) => md5 = Some(digest.to_owned()),
                _ => {}
            }
        }
        if name == b"/set" {
            default = regular;
        } else if let Some(relative) = name.strip_prefix(b"./")
            && regular
            && let Some(digest) = sha256.or(md5)
        {
            files.push((absolute(unescape(relative)), digest));
        }
    }
    files
}

/// `path`, relative to the root in the database, as an absolute path.
pub(super) fn absolute(path: Vec<u8>) -> PathBuf {
    Path::new("/").join(OsString::from_vec(path))
}

/// Undoes `\ooo`, which mtree(5) writes for blanks and the like.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        if byte == b'\\'
            && let Some((digits, after)) = rest.split_first_chunk::<3>()
            && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
        {
            let value = digits
                .iter()
                .fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            plain.push(value as u8);
            rest = after;
        } else {
            plain.push(byte);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_end_at_an_empty_line() {
        let text = b"%NAME%\nbash\n\n%DEPENDS%\nglibc\nreadline>=7.0\n\n%FILES%\n%odd%\n\nlost\n";
        let sections = sections(text);
        assert_eq!(sections[&b"NAME"[..]], [b"bash"]);
        assert_eq!(sections[&b"DEPENDS"[..]].len(), 2);
        assert_eq!(sections[&b"FILES"[..]], [b"%odd%"]);
        assert_eq!(sections.len(), 3);
    }

    #[test]
    fn an_mtree_tells_files_from_the_rest() {
        let text = b"#mtree\n/set type=file uid=0 gid=0 mode=644\n\
            ./.PKGINFO time=1.0 size=3 sha256digest=aa\n\
            ./etc time=1.0 mode=755 type=dir\n\
            ./etc/a\\040b time=1.0 md5digest=bb sha256digest=cc\n\
            ./etc/old md5digest=dd\n\
            ./etc/link type=link link=a\n";
        let expected = [("/.PKGINFO", "aa"), ("/etc/a b", "cc"), ("/etc/old", "dd")]
            .map(|(path, digest)| (PathBuf::from(path), digest.to_owned()));
        assert_eq!(mtree(text), expected);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in proptest::collection::vec(any::<u8>(), 0..300),
                                printable in "[%A-Z\n/.=\\\\0-9 a-z]{0,300}") {
            for text in [&text[..], printable.as_bytes()] {
                sections(text);
                mtree(text);
            }
        }
    }
}
