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

/// The regular files at the paths in `wanted` that `package` has.
pub(super) fn files(package: &Path, wanted: &HashSet<&Path>) -> Result<Vec<Pristine>> {
    let mut file = files::open(package)?;
    let damaged = |e| Error::io("cannot read the package", package, e);
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
        let entry = entry.map_err(|e| Error::io("cannot read the package", package, e))?;
        if entry.header().identifier().starts_with(b"data.tar") {
            return tar(package, entry, wanted);
        }
    }
    Err(Error::input(format!(
        "the package `{}` has no data",
        package.display()
    )))
}

fn tar(package: &Path, source: impl Read, wanted: &HashSet<&Path>) -> Result<Vec<Pristine>> {
    let damaged = |e| Error::io("cannot read the package", package, e);
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
        .map_err(|e| Error::io("cannot read the package", package, e))?;
    if content.len() as u64 > LIMIT {
        return Err(Error::input(format!(
            "`{}` in the package `{}` is larger than {LIMIT} bytes",
            path.display(),
            package.display()
        )));
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
