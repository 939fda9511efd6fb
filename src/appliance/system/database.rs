//! The package database of an appliance that has its package manager: it lists
//! what is in the appliance, not what is on the host.

use super::{Context, file};
use crate::appliance::plan::{Entry, Node, Origin};
use crate::appliance::tree::{Parents, Tree, directory};
use crate::host::Package;
use crate::skeleton::guest::FIRST_BOOT;
use crate::{command, files, glob};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const DPKG: &str = "/var/lib/dpkg";
/// Where RPM has it: since Fedora 36 and on openSUSE, then elsewhere.
const RPM: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];

/// Puts the database in where the package manager is, or scriptlets ask for it.
///
/// One that cannot be read or made is left out: the package manager then shows
/// an empty list.
pub(super) fn apply<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>) {
    let there = |path: &str| tree.look_up(Path::new(path)).is_some();
    // dpkg itself is a dependency of nearly everything on Debian.
    if there("/usr/bin/apt") || there("/usr/bin/dpkg") && there(FIRST_BOOT) {
        dpkg(tree, context);
    } else if there("/usr/bin/rpm") {
        rpm(tree, context);
    }
}

fn dpkg<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>) {
    let host = context.host.root();
    let at = |name: &str| Path::new(DPKG).join(name);
    let Ok(status) = files::read(glob::below(host, &at("status"))) else {
        return;
    };
    let chosen: BTreeSet<(&str, &str)> = context
        .packages
        .iter()
        .map(|package| (package.name.as_str(), package.architecture.as_str()))
        .collect();
    let text = String::from_utf8_lossy(&status);
    file(tree, &at("status"), 0o644, restrict(&text, &chosen).into());
    for name in ["available", "diversions", "statoverride"] {
        file(tree, &at(name), 0o644, Vec::new());
    }
    file(tree, &at("info/format"), 0o644, b"1\n".into());
    for name in ["updates", "triggers", "parts", "alternatives"] {
        if tree.look_up(&at(name)).is_none() {
            tree.put(directory(at(name), Origin::Generated));
        }
    }
    let Ok(entries) = std::fs::read_dir(glob::below(host, &at("info"))) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((package, _)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        let ours = match package.split_once(':') {
            Some(pair) => chosen.contains(&pair),
            None => chosen.iter().any(|(name, _)| *name == package),
        };
        if ours {
            context.host_file(tree, &at("info").join(&name));
        }
    }
}

/// The records of `chosen` in dpkg's status file, by name and architecture.
fn restrict(status: &str, chosen: &BTreeSet<(&str, &str)>) -> String {
    let mut text = String::new();
    for record in status.split("\n\n") {
        let field = |name: &str| {
            let mut lines = record.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
        };
        let key = (
            field("Package").unwrap_or(""),
            field("Architecture").unwrap_or(""),
        );
        if chosen.contains(&key) {
            text.push_str(record.trim_matches('\n'));
            text.push_str("\n\n");
        }
    }
    text
}

/// RPM's database has to be written by RPM: the headers of the packages go
/// through `rpmdb --exportdb` and `rpmdb --importdb`.
fn rpm<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>) -> Option<()> {
    let home = RPM.into_iter().find(|path| {
        let path = glob::below(context.host.root(), Path::new(path));
        path.read_dir()
            .is_ok_and(|mut entries| entries.next().is_some())
    })?;
    let scratch = tempfile::tempdir().ok()?;
    let at = |option: &str, path: &Path| {
        let mut rpmdb = Command::new("rpmdb");
        rpmdb.arg("--dbpath").arg(path).arg(option);
        rpmdb
    };
    let old = glob::below(context.host.root(), Path::new(home));
    let headers = command::output(&mut at("--exportdb", &old)).ok()?;
    let list = scratch.path().join("headers");
    let mut kept = File::create(&list).ok()?;
    for header in split(&headers)? {
        if identity(header).is_some_and(|id| context.packages.iter().any(|p| id.is(p))) {
            kept.write_all(header).ok()?;
        }
    }
    drop(kept);
    let new = scratch.path().join("new");
    files::create_dir_all(&new).ok()?;
    let import = at("--importdb", &new)
        .stdin(File::open(&list).ok()?)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    if !import.ok()?.success() {
        return None;
    }
    let mut made: Vec<PathBuf> = new.read_dir().ok()?.flatten().map(|e| e.path()).collect();
    made.sort();
    for path in made {
        let name = path.file_name()?;
        // Locks, and the shared memory of SQLite, are of running programs alone.
        let passing = [".lock", "-shm", "-wal"];
        if !passing
            .iter()
            .any(|end| name.to_string_lossy().ends_with(end))
        {
            let bytes = files::read(&path).ok()?;
            let path = Path::new(home).join(name);
            if tree
                .look_at(&path)
                .is_none_or(|there| matches!(there.node, Node::File(_)))
            {
                tree.put(Entry {
                    path: path.clone(),
                    ..super::file_entry(&path, 0o644, bytes)
                });
            }
        }
    }
    Some(())
}

/// A header's name, version, release and architecture.
#[derive(Debug, Default, PartialEq, Eq)]
struct Identity<'a> {
    name: &'a str,
    version: &'a str,
    release: &'a str,
    architecture: &'a str,
}

impl Identity<'_> {
    fn is(&self, package: &Package) -> bool {
        let version = package.version.rsplit(':').next().unwrap_or_default();
        self.name == package.name
            && self.architecture == package.architecture
            && version.split_once('-') == Some((self.version, self.release))
    }
}

/// The beginning of a header: its magic and four bytes that are zero.
///
/// Source: "RPM V4 Package format" in rpm's documentation.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
/// Magic, number of index entries, size of the data.
const INTRO: usize = 16;
/// Tag, type, offset, count.
const INDEX: usize = 16;

/// The headers of a stream, each with its magic.
fn split(mut stream: &[u8]) -> Option<Vec<&[u8]>> {
    let mut headers = Vec::new();
    while !stream.is_empty() {
        if !stream.starts_with(&MAGIC) {
            return None;
        }
        let (entries, size) = (number(stream, 8)?, number(stream, 12)?);
        let length = entries
            .checked_mul(INDEX)?
            .checked_add(size)?
            .checked_add(INTRO)?;
        let (header, rest) = stream.split_at_checked(length)?;
        headers.push(header);
        stream = rest;
    }
    Some(headers)
}

fn identity(header: &[u8]) -> Option<Identity<'_>> {
    let mut identity = Identity::default();
    let entries = number(header, 8)?;
    let data = header.get(INTRO + entries.checked_mul(INDEX)?..)?;
    for entry in header
        .get(INTRO..)?
        .as_chunks::<INDEX>()
        .0
        .iter()
        .take(entries)
    {
        let text = || {
            let rest = data.get(number(entry, 8)?..)?;
            std::str::from_utf8(rest.split(|&byte| byte == 0).next()?).ok()
        };
        match number(entry, 0)? {
            1000 => identity.name = text()?,
            1001 => identity.version = text()?,
            1002 => identity.release = text()?,
            1022 => identity.architecture = text()?,
            _ => {}
        }
    }
    Some(identity)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_be_bytes(four.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dpkg_records_are_chosen_by_name_and_architecture() {
        let status = "Package: a\nArchitecture: amd64\nDescription: x\n y\n\n\
                      Package: a\nArchitecture: i386\n\nPackage: b\nArchitecture: all\n";
        let chosen = BTreeSet::from([("a", "amd64"), ("b", "all")]);
        assert_eq!(
            restrict(status, &chosen),
            "Package: a\nArchitecture: amd64\nDescription: x\n y\n\n\
             Package: b\nArchitecture: all\n\n"
        );
    }

    fn header(texts: &[(u32, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, text) in texts {
            for number in [*tag, 6, data.len() as u32, 1] {
                index.extend(number.to_be_bytes());
            }
            data.extend(text.as_bytes());
            data.push(0);
        }
        bytes.extend((texts.len() as u32).to_be_bytes());
        bytes.extend((data.len() as u32).to_be_bytes());
        [bytes, index, data].concat()
    }

    #[test]
    fn headers_say_what_they_are_of() {
        let one = header(&[
            (1000, "bash"),
            (1001, "5.2"),
            (1002, "1.fc40"),
            (1022, "x86_64"),
        ]);
        let two = header(&[(1000, "gpg-pubkey")]);
        let stream = [one.clone(), two.clone()].concat();
        assert_eq!(split(&stream), Some(vec![&one[..], &two[..]]));
        let found = identity(&one).unwrap();
        assert_eq!((found.name, found.release), ("bash", "1.fc40"));
        assert_eq!(split(&stream[..stream.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn damaged_streams_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..99), entries in 0u32..9) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(entries.to_be_bytes());
            bytes.extend(tail);
            let _ = split(&bytes);
            let _ = identity(&bytes);
        }
    }
}
