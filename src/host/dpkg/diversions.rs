//! Files of packages that lie elsewhere than their package thinks.
//!
//! Source: dpkg-divert(1) and dpkg's own `/var/lib/dpkg/diversions`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where a path of all packages but one lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diversion {
    pub(super) to: PathBuf,
    /// The package that keeps the path for itself; `:` for the administrator.
    pub(super) by: String,
}

/// Three lines each: the path, where it lies now, and for whom.
pub(super) fn parse(text: &[u8]) -> HashMap<PathBuf, Diversion> {
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    let (triples, _) = lines.as_chunks::<3>();
    triples
        .iter()
        .map(|[from, to, by]| {
            let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
            let by = String::from_utf8_lossy(by).into_owned();
            (path(from), Diversion { to: path(to), by })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn diversions_come_in_threes() {
        let found = parse(b"/bin/sh\n/bin/sh.distrib\ndash\n/odd\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[Path::new("/bin/sh")].by, "dash");
    }
}
