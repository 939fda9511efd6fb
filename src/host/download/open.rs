//! Taking files out of packages, whose kind shows in their content.

use super::{Pristine, rpm};
use crate::{Error, Result, compression, files};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// More than any real configuration file has, in bytes.
const LIMIT: u64 = 64 << 20;

/// What to do about a package that makes no sense.
pub(super) const AGAIN: &str =
    "it was damaged on the way: empty the package manager's cache, then run this again";

/// The package cannot be read, though the package manager brought it.
pub(super) fn damaged(package: &Path, cause: std::io::Error) -> Error {
    Error::io("cannot read the package", package, cause).hint(AGAIN)
}

/// The regular files at the paths in `wanted` that `package` has.
pub(super) fn files(package: &Path, wanted: &HashSet<&Path>) -> Result<Vec<Pristine>> {
    let mut file = files::open(package)?;
    let damaged = |e| damaged(package, e);
    let mut magic = Vec::new();
    (&mut file)
        .take(8)
        .read_to_end(&mut magic)
        .map_err(damaged)?;
    file.rewind().map_err(damaged)?;
    let source = std::io::BufReader::new(file);
    if magic == b"!<arch>\n" {
        deb(package, source, wanted)
    } else if magic.starts_with(&rpm::MAGIC) {
        rpm::files(package, source, wanted)
    } else {
        tar(package, source, wanted)
    }
}

/// deb(5): an `ar` archive with a tar archive called `data.tar` and a suffix.
fn deb(package: &Path, source: impl Read, wanted: &HashSet<&Path>) -> Result<Vec<Pristine>> {
    let mut archive = ar::Archive::new(source);
    while let Some(entry) = archive.next_entry() {
        let entry = entry.map_err(|e| damaged(package, e))?;
        if entry.header().identifier().starts_with(b"data.tar") {
            return tar(package, entry, wanted);
        }
    }
    Err(Error::input(format!("the package `{}` has no data", package.display())).hint(AGAIN))
}

fn tar(package: &Path, source: impl Read, wanted: &HashSet<&Path>) -> Result<Vec<Pristine>> {
    let damaged = |e| damaged(package, e);
    let source = compression::reader(&package.to_string_lossy(), source)?;
    let mut archive = tar::Archive::new(source);
    let mut found = Vec::new();
    for entry in archive.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let path = absolute(&entry.path_bytes());
        if !entry.header().entry_type().is_file() || !wanted.contains(path.as_path()) {
            continue;
        }
        let header = entry.header();
        let number = |value: std::io::Result<u64>| value.map(|value| value as u32);
        found.push(Pristine {
            mode: (header.mode().map_err(damaged)? & 0o7777) as u16,
            uid: number(header.uid()).map_err(damaged)?,
            gid: number(header.gid()).map_err(damaged)?,
            mtime: i64::try_from(header.mtime().map_err(damaged)?).unwrap_or(i64::MAX),
            content: content(package, &path, entry)?,
            path,
        });
    }
    Ok(found)
}

/// The whole of a configuration file.
pub(super) fn content(package: &Path, path: &Path, source: impl Read) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    source
        .take(LIMIT + 1)
        .read_to_end(&mut content)
        .map_err(|e| damaged(package, e))?;
    if content.len() as u64 > LIMIT {
        return Err(Error::input(format!(
            "`{}` in the package `{}` is larger than {LIMIT} bytes",
            path.display(),
            package.display()
        ))
        .hint("give the skeleton a file of your own at this path, or take this host's"));
    }
    Ok(content)
}

/// The name of a member, which may start with `./` or nothing, as a path from
/// the root.
pub(super) fn absolute(name: &[u8]) -> PathBuf {
    let name = name
        .strip_prefix(b".")
        .filter(|rest| rest.starts_with(b"/"))
        .unwrap_or(name);
    let name = name.strip_prefix(b"/").unwrap_or(name);
    Path::new("/").join(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const NAME: &str = "./etc/x.conf";

    fn tar_of(content: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in [("./etc/", &b""[..]), ("usr/x", b"no"), (NAME, content)] {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            if path.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            header.set_mode(0o640);
            header.set_uid(0);
            header.set_gid(42);
            header.set_mtime(7);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn deb_of(content: &[u8]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, data) in [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", Vec::new()),
            (
                "data.tar.zst",
                zstd::encode_all(&tar_of(content)[..], 1).unwrap(),
            ),
        ] {
            let header = ar::Header::new(name.into(), data.len() as u64);
            builder.append(&header, &data[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// Headers without entries, and a payload that is not compressed.
    fn rpm_of(content: &[u8]) -> Vec<u8> {
        let mut package = rpm::MAGIC.to_vec();
        package.resize(96, 0);
        for _ in 0..2 {
            package.extend([0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]);
            package.extend([0; 8]);
        }
        let start = package.len();
        for (name, content) in [
            ("./usr/x", &b"no"[..]),
            (NAME, content),
            ("TRAILER!!!", b""),
        ] {
            let fields = [
                1,
                0o100_640,
                0,
                42,
                1,
                7,
                content.len(),
                0,
                0,
                0,
                0,
                name.len() + 1,
                0,
            ];
            package.extend(b"070701");
            for field in fields {
                write!(package, "{field:08x}").unwrap();
            }
            for data in [format!("{name}\0").as_bytes(), content] {
                package.extend(data);
                package.resize(start + (package.len() - start).next_multiple_of(4), 0);
            }
        }
        package
    }

    fn open(package: &[u8]) -> Result<Vec<Pristine>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        crate::files::write(file.path(), package).unwrap();
        let wanted = HashSet::from([Path::new("/etc/x.conf"), Path::new("/etc")]);
        files(file.path(), &wanted)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn a_file_is_found_in_every_kind_of_package(
            content in proptest::collection::vec(any::<u8>(), 0..3000),
            cut in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
        ) {
            for package in [tar_of(&content), deb_of(&content), rpm_of(&content)] {
                let expected = Pristine {
                    path: "/etc/x.conf".into(),
                    content: content.clone(),
                    mode: 0o640,
                    uid: 0,
                    gid: 42,
                    mtime: 7,
                };
                prop_assert_eq!(open(&package).unwrap(), [expected]);
                // A damaged one is an error or has less in it, and never panics.
                let _ = open(&package[..cut.index(package.len())]);
                let mut package = package;
                let at = flip.index(package.len());
                package[at] ^= 0x55;
                let _ = open(&package);
            }
        }
    }

    #[test]
    fn what_is_no_package_is_an_error_that_names_it() {
        let error = open(&[0xed, 0xab, 0xee, 0xdb, 1]).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the package `/"), "{error}");
        let error = open(b"!<arch>\n").unwrap_err().to_string();
        assert!(error.ends_with("has no data"), "{error}");
        for package in [&[7; 2000][..], b"!<arch>\n", &rpm::MAGIC] {
            assert_eq!(open(package).unwrap_err().advice(), Some(AGAIN));
        }
    }
}
