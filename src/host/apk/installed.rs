//! apk's file of installed packages, as text: `K:value` lines, packages apart
//! by an empty line.
//!
//! Source: "Installed Database V2" in Alpine's wiki (Apk spec).  apk 3 keeps
//! that format on disk.

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// `P`
    pub(super) name: &'a str,
    /// `V`
    pub(super) version: &'a str,
    /// `A`
    pub(super) architecture: &'a str,
    /// `D`, apart by blanks; `!` before one that must be absent.
    pub(super) depends: &'a str,
    /// `p`, apart by blanks.
    pub(super) provides: &'a str,
    /// Every `F` and `R`.
    pub(super) paths: Vec<Listed<'a>>,
}

/// A path of a package, relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listed<'a> {
    /// `F`
    Directory(&'a [u8]),
    /// `R`: a directory and the name of a file, symlink or device in it.
    File {
        directory: &'a [u8],
        name: &'a [u8],
        /// `Z`, a checksum as the database spells it: of a file's content, or
        /// of a symlink's target.
        checksum: Option<&'a str>,
    },
}

/// The packages in the file.  Unknown fields, and lines that are wrong, are
/// passed over.
pub(super) fn parse(text: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    let mut record = Record::default();
    let mut directory: &[u8] = b"";
    // The end of the file ends a package too.
    for line in text.split(|&byte| byte == b'\n').chain([&b""[..]]) {
        let (key, value) = match line {
            [key, b':', value @ ..] => (*key, value),
            [] => {
                let record = std::mem::take(&mut record);
                if !record.name.is_empty() {
                    records.push(record);
                }
                directory = b"";
                continue;
            }
            _ => continue,
        };
        let word = || std::str::from_utf8(value).unwrap_or_default();
        match key {
            b'P' => record.name = word(),
            b'V' => record.version = word(),
            b'A' => record.architecture = word(),
            b'D' => record.depends = word(),
            b'p' => record.provides = word(),
            b'F' => {
                directory = value;
                record.paths.push(Listed::Directory(value));
            }
            b'R' => record.paths.push(Listed::File {
                directory,
                name: value,
                checksum: None,
            }),
            b'Z' => {
                if let Some(Listed::File { checksum, .. }) = record.paths.last_mut() {
                    *checksum = Some(word());
                }
            }
            _ => {}
        }
    }
    records
}

/// A checksum `Q1` (SHA-1 in base64) or `X1` (in hexadecimal), in hexadecimal;
/// `None` for another kind.
pub(super) fn digest(checksum: &str) -> Option<String> {
    if let Some(hex) = checksum.strip_prefix("X1") {
        return Some(hex.to_ascii_lowercase());
    }
    let text = checksum.strip_prefix("Q1")?.trim_end_matches('=');
    let (mut bits, mut held, mut digest) = (0_u32, 0, String::new());
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        while held >= 4 {
            held -= 4;
            digest.push(char::from_digit(bits >> held & 15, 16)?);
        }
        bits &= (1 << held) - 1;
    }
    // 27 digits of six bits are two bits more than the 40 of four.
    (digest.len() == 40).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"C:Q17mim+wL35iMEtCiwQEovweL8NT0=\nP:alpine-baselayout-data\nV:3.6.5-r0\n\
A:x86_64\nT:Alpine base dir structure: and init scripts\nr:alpine-baselayout\nq:1000\nF:etc\nR:fstab\n\
Z:Q11Q7hNe8QpDS531guqCdrXBzoA/o=\nR:mtab\na:0:0:777\nZ:Q1kiljhXXH1LlQroHsEJIkPZg2eiw=\nR:shadow\n\
a:0:42:640\nZ:Q1miRFe6MuYCWAiVxqiFzhddegBq4=\nF:var/empty\nM:0:0:555\n\n\
P:musl\nV:1.2.5-r0\np:so:libc.musl-x86_64.so.1=1\nF:lib\nR:ld-musl-x86_64.so.1";

    #[test]
    fn packages_and_their_files() {
        let records = parse(TEXT);
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].name, "alpine-baselayout-data");
        assert_eq!(records[0].paths.len(), 5);
        assert!(matches!(
            records[0].paths[2],
            Listed::File {
                directory: b"etc",
                name: b"mtab",
                checksum: Some("Q1kiljhXXH1LlQroHsEJIkPZg2eiw="),
            }
        ));
        assert_eq!(records[1].provides, "so:libc.musl-x86_64.so.1=1");
        assert_eq!(records[1].paths.len(), 2);
    }

    /// The checksum of the symlink /etc/mtab of Alpine is that of its target.
    #[test]
    fn checksums_are_sha1() {
        let sum = digest("Q1kiljhXXH1LlQroHsEJIkPZg2eiw=").unwrap();
        assert!(crate::host::checksum::matches(b"/proc/mounts", &sum));
        assert_eq!(digest("Q1kiljhXXH1LlQroHsEJIkPZg2ei"), None);
        assert_eq!(digest("Q2abc"), None);
    }

    proptest! {
        #[test]
        fn base64_is_undone(bytes in proptest::array::uniform20(any::<u8>())) {
            const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let bit = |i: usize| bytes.get(i / 8).is_some_and(|byte| byte >> (7 - i % 8) & 1 == 1);
            let text: String = (0..27)
                .map(|digit| (0..6).fold(0, |value, i| value << 1 | usize::from(bit(digit * 6 + i))))
                .map(|value| char::from(DIGITS[value]))
                .collect();
            let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(digest(&format!("Q1{text}=")), Some(expected));
        }

        #[test]
        fn garbage_never_panics(text in "([PVADpFRZaMC]:[ -~]{0,30}\n|[ -~]{0,9}\n|\n){0,20}",
                                bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(text.as_bytes());
            parse(&bytes);
            digest(&text);
        }
    }
}
