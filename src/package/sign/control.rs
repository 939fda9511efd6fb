//! Signing `.dsc`, `.buildinfo` and `.changes`.

use super::Signer;
use crate::package::checksums::Checksums;
use crate::{Error, Result, files};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The fields with lines of digest, size, ... and file name.
const LISTS: [&str; 4] = [
    "Files",
    "Checksums-Md5",
    "Checksums-Sha1",
    "Checksums-Sha256",
];

/// The control file `bytes`, signed.  Where it lists one of `signed`, digest
/// and size are renewed; an earlier signature is replaced.
pub(super) fn sign(
    signer: &Signer,
    name: &str,
    bytes: &[u8],
    signed: &[(PathBuf, Vec<u8>)],
) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::input(format!("`{name}` is not UTF-8")).caused_by(e))?;
    let plain = unsigned(text).ok_or_else(|| {
        Error::input(format!("the old signature of `{name}` is cut off")).hint("make it anew")
    })?;
    let renewed: Vec<(String, Checksums, usize)> = signed
        .iter()
        .filter_map(|(path, bytes)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, Checksums::of(bytes), bytes.len()))
        })
        .collect();
    signer.clear(renew(&plain, &renewed).as_bytes())
}

/// Whether the files that the control file `bytes` lists are as it says, where
/// they lie beside it; the error names the first that is not.  Those in `renewed`
/// are left out: their digests are made anew.
pub(super) fn check_beside(path: &Path, bytes: &[u8], renewed: &BTreeSet<OsString>) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let folder = path.parent().unwrap_or(Path::new(""));
    for (field, sum, size, name) in listed(&text) {
        let beside = folder.join(name);
        if name.contains('/') || renewed.contains(OsStr::new(name)) || !beside.is_file() {
            continue;
        }
        let content = files::read(&beside)?;
        let sums = Checksums::of(&content);
        if sum != of_field(&sums, field) || size != content.len().to_string() {
            return Err(Error::input(format!(
                "`{}` is not about `{}` as it is now: that has changed since, so its signature \
                 would be of something else",
                path.display(),
                beside.display()
            ))
            .hint(format!(
                "sign both in one command, which renews the digests, or make `{}` anew",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The files that a control file lists: field, digest, size and name.
fn listed(text: &str) -> Vec<(&str, &str, &str, &str)> {
    let mut field = "";
    let mut found = Vec::new();
    for line in text.lines() {
        if !line.starts_with(' ') {
            field = line.split(':').next().unwrap_or_default();
        } else if LISTS.contains(&field) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [sum, size, .., name] = words[..] {
                found.push((field, sum, size, name));
            }
        }
    }
    found
}

/// The digest that stands in `field`.
fn of_field<'a>(sums: &'a Checksums, field: &str) -> &'a str {
    match field {
        "Checksums-Sha1" => &sums.sha1,
        "Checksums-Sha256" => &sums.sha256,
        _ => &sums.md5,
    }
}

/// `text` without the signature around it, if it has one.
///
/// Source: RFC 4880, section 7.
fn unsigned(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix("-----BEGIN PGP SIGNED MESSAGE-----\n") else {
        return Some(text.to_owned());
    };
    let (_, body) = rest.split_once("\n\n")?;
    let (body, _) = body.split_once("\n-----BEGIN PGP SIGNATURE-----")?;
    let lines = body.lines().map(|line| {
        let line = line.strip_prefix("- ").unwrap_or(line);
        format!("{line}\n")
    });
    Some(lines.collect::<String>().trim_end().to_owned() + "\n")
}

/// `text` with the digests and sizes of these files.
fn renew(text: &str, files: &[(String, Checksums, usize)]) -> String {
    let mut field = "";
    let mut out = String::new();
    for line in text.lines() {
        if !line.starts_with(' ') {
            field = line.split(':').next().unwrap_or_default();
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let file = files
            .iter()
            .find(|(name, ..)| words.len() >= 3 && words.last() == Some(&name.as_str()));
        match file {
            Some((_, sums, size)) if LISTS.contains(&field) && line.starts_with(' ') => {
                let sum = of_field(sums, field);
                out.push_str(&format!(" {sum} {size} {}\n", words[2..].join(" ")));
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_renewed_where_the_file_is_listed() {
        let text = "Changes:\n a 1 x.dsc\nChecksums-Sha1:\n old 1 x.dsc\n old 2 y\nFiles:\n old 1 misc optional x.dsc\n";
        let sums = Checksums::of(b"new");
        let (sha1, md5) = (sums.sha1.clone(), sums.md5.clone());
        assert_eq!(
            renew(text, &[("x.dsc".to_owned(), sums, 3)]),
            format!(
                "Changes:\n a 1 x.dsc\nChecksums-Sha1:\n {sha1} 3 x.dsc\n old 2 y\nFiles:\n {md5} 3 misc optional x.dsc\n"
            )
        );
    }

    #[test]
    fn an_old_signature_is_taken_away() {
        let signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nA: b\n- -c\n\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n";
        assert_eq!(unsigned(signed).unwrap(), "A: b\n-c\n");
        assert_eq!(unsigned("A: b\n").unwrap(), "A: b\n");
        assert!(unsigned(&signed[..60]).is_none());
    }
}
