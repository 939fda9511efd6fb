//! The installed packages, to be looked up by name, capability and file.

use super::record::{Capability, Record};
use crate::glob::below;
use crate::host::packages::{PackageId, Resolution};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The installed packages and their indexes.
#[derive(Debug)]
pub(super) struct Catalogue {
    root: PathBuf,
    /// By name, the newest of a name first.
    pub(super) records: Vec<Record>,
    /// The place of each in the database.
    places: Vec<usize>,
    by_name: HashMap<String, Vec<PackageId>>,
    /// Who provides a capability, and as which of its provisions.
    provided: HashMap<String, Vec<(PackageId, usize)>>,
    /// The owners of those paths that somebody requires.
    owners: HashMap<String, Vec<PackageId>>,
    /// As the kernel calls it; RPM calls most machines the same.
    machine: String,
}

impl Catalogue {
    /// A catalogue of `records`, which are in the order of the database, of the
    /// system below `root`.
    pub(super) fn new(root: &Path, records: Vec<Record>) -> Self {
        let mut records: Vec<(usize, Record)> = records
            .into_iter()
            .enumerate()
            // Keys of signers are kept like packages.
            .filter(|(_, record)| record.name != "gpg-pubkey")
            .collect();
        records.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name).then_with(|| a.newest_first(b)));
        let (places, records): (_, Vec<Record>) = records.into_iter().unzip();
        let mut by_name: HashMap<String, Vec<PackageId>> = HashMap::new();
        let mut provided: HashMap<String, Vec<(PackageId, usize)>> = HashMap::new();
        let mut paths = HashSet::new();
        for (id, record) in records.iter().enumerate() {
            by_name.entry(record.name.clone()).or_default().push(id);
            for (at, capability) in record.provides.iter().enumerate() {
                let by = provided.entry(capability.name.clone()).or_default();
                by.push((id, at));
            }
            // Paths in rich dependencies are words of their own.
            let wanted = record.requires.iter().map(|wanted| wanted.name.as_str());
            paths.extend(
                wanted
                    .filter(|name| name.starts_with(['/', '(']))
                    .flat_map(|name| name.split([' ', '(', ')']))
                    .filter(|word| word.starts_with('/')),
            );
        }
        Self {
            root: root.to_owned(),
            owners: owners(root, &records, &paths),
            places,
            by_name,
            provided,
            machine: rustix::system::uname()
                .machine()
                .to_string_lossy()
                .into_owned(),
            records,
        }
    }

    /// The package that `name` means: one called so, else the only one that
    /// provides it.
    pub(super) fn find(&self, name: &str, resolution: Resolution) -> Option<PackageId> {
        let compatible = resolution == Resolution::Compatible;
        if let Some(ids) = self.by_name.get(name) {
            let rank = |id: PackageId| match self.records[id].architecture.as_str() {
                "noarch" => 0,
                own if self.is_native(own) => usize::from(compatible),
                _ => 2,
            };
            let ids = ids.iter().copied();
            return if compatible {
                // supermin means to take the newest, but takes the first.
                ids.min_by_key(|&id| (rank(id), self.places[id]))
            } else {
                ids.min_by_key(|&id| (rank(id), id))
            };
        }
        if !compatible
            && let Some((name, architecture)) = name.rsplit_once('.')
            && let Some(ids) = self.by_name.get(name)
            && let Some(&id) = ids
                .iter()
                .find(|&&id| self.records[id].architecture == architecture)
        {
            return Some(id);
        }
        match self.what_provides(name)[..] {
            [id] => Some(id),
            _ => None,
        }
    }

    /// Whether packages of this architecture are of this machine: `x86_64`,
    /// also as `x86_64_v2`.
    pub(super) fn is_native(&self, architecture: &str) -> bool {
        architecture
            .strip_prefix(&self.machine)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    }

    /// What `rpm -q --whatprovides` says: the owners of a path, else those who
    /// provide the capability, in whatever version.
    pub(super) fn what_provides(&self, name: &str) -> Vec<PackageId> {
        let owners = self.owners_of(name);
        if !owners.is_empty() {
            return owners;
        }
        let provided = self.provided.get(name).into_iter().flatten();
        let mut ids: Vec<PackageId> = provided.map(|(id, _)| *id).collect();
        ids.dedup();
        ids
    }

    /// Who satisfies a requirement: by a provision whose versions overlap, or
    /// by owning the path.
    pub(super) fn satisfying(&self, wanted: &Capability) -> Vec<PackageId> {
        let provided = self.provided.get(&wanted.name).into_iter().flatten();
        let mut ids: Vec<PackageId> = provided
            .filter(|&&(id, at)| wanted.overlaps(&self.records[id].provides[at]))
            .map(|(id, _)| *id)
            .chain(self.owners_of(&wanted.name))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn owners_of(&self, path: &str) -> Vec<PackageId> {
        if !path.starts_with('/') {
            return Vec::new();
        }
        if let Some(owners) = self.owners.get(path) {
            return owners.clone();
        }
        let mut found = owners(&self.root, &self.records, &HashSet::from([path]));
        found.remove(path).unwrap_or_default()
    }
}

/// Who owns each of `paths`, also under another name of its directory: where
/// /bin leads to /usr/bin, `/bin/sh` is `/usr/bin/sh`, as in rpm's fingerprints.
fn owners(
    root: &Path,
    records: &[Record],
    paths: &HashSet<&str>,
) -> HashMap<String, Vec<PackageId>> {
    let mut found: HashMap<String, Vec<PackageId>> = paths
        .iter()
        .map(|&path| (path.to_owned(), Vec::new()))
        .collect();
    let mut by_base: HashMap<&[u8], Vec<(&str, PathBuf)>> = HashMap::new();
    for &path in paths {
        let (directory, base) = split(path.as_bytes());
        let real = real_directory(root, directory);
        by_base.entry(base).or_default().push((path, real));
    }
    let mut real: HashMap<&[u8], PathBuf> = HashMap::new();
    for (id, record) in records.iter().enumerate() {
        for file in record.files.iter().filter(|file| file.installed) {
            let (directory, base) = split(file.path.as_os_str().as_bytes());
            let Some(wanted) = by_base.get(base) else {
                continue;
            };
            let real = real
                .entry(directory)
                .or_insert_with(|| real_directory(root, directory));
            for (path, _) in wanted.iter().filter(|(_, wanted)| wanted == real) {
                if let Some(ids) = found.get_mut(*path)
                    && ids.last() != Some(&id)
                {
                    ids.push(id);
                }
            }
        }
    }
    found
}

/// Directory and last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    slash.map_or((b"/", path), |at| (&path[..at], &path[at + 1..]))
}

/// `path` without symlinks, as far as it exists, inside `root`.
fn real_directory(root: &Path, path: &[u8]) -> PathBuf {
    /// As many symlinks as Linux follows.
    const MAX_LINKS: usize = 40;
    let parts = |path: &Path| -> VecDeque<OsString> {
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        });
        parts.collect()
    };
    let mut left = parts(Path::new(OsStr::from_bytes(path)));
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&part);
        match std::fs::read_link(below(root, &next)) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                if target.is_absolute() {
                    real = "/".into();
                }
                let mut target = parts(&target);
                target.append(&mut left);
                left = target;
            }
            _ => real = next,
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn directories_have_one_real_name() {
        let root = tempfile::tempdir().unwrap();
        crate::files::create_dir_all(root.path().join("usr/bin")).unwrap();
        symlink("usr/bin", root.path().join("bin")).unwrap();
        symlink("/bin", root.path().join("sbin")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        for (path, expected) in [
            ("/bin", "/usr/bin"),
            ("/sbin/../bin", "/usr/bin"),
            ("/usr/./bin/", "/usr/bin"),
            ("/opt/nothing", "/opt/nothing"),
            ("/loop", "/loop"),
            ("", "/"),
        ] {
            let real = real_directory(root.path(), path.as_bytes());
            assert_eq!(real, Path::new(expected), "{path}");
        }
    }
}
