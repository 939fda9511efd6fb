//! The RPM database, through the `rpm` command: whatever its format is.

mod query;
mod rich;

use super::dpkg::hex;
use super::packages::{
    ConfigFile, ConfigState, Package, PackageDatabase, PackageFile, PackageId, Resolution,
    reachable,
};
use crate::glob::below;
use crate::{Result, command, files};
use query::{Capability, Record};
use rich::Rich;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the database may lie, by format and age of the system.
pub const DATABASES: [&str; 6] = [
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages.db",
    "/var/lib/rpm/Packages",
];

/// The installed packages of an RPM system.
#[derive(Debug)]
pub struct Rpm {
    root: PathBuf,
    packages: Vec<Package>,
    records: Vec<Record>,
    by_name: HashMap<String, Vec<PackageId>>,
    provided: HashMap<String, Vec<(PackageId, Capability)>>,
    owners: HashMap<PathBuf, Vec<PackageId>>,
}

impl Rpm {
    /// Asks the `rpm` command for the packages of the system below `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let mut rpm = Command::new("rpm");
        if root != Path::new("/") {
            rpm.arg("--root").arg(root);
        }
        rpm.args(["-qa", "--queryformat", query::FORMAT]);
        let text = command::output(rpm.env("LC_ALL", "C"))?;
        let records = query::parse(&String::from_utf8_lossy(&text))?;
        Ok(Self::new(root, records))
    }

    fn new(root: &Path, mut records: Vec<Record>) -> Self {
        // Keys of signers are kept like packages.
        records.retain(|record| record.name != "gpg-pubkey");
        records.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| newest_first(a, b)));
        let mut database = Self {
            root: root.to_owned(),
            packages: Vec::new(),
            by_name: HashMap::new(),
            provided: HashMap::new(),
            owners: HashMap::new(),
            records: Vec::new(),
        };
        for (id, record) in records.iter().enumerate() {
            let epoch = match record.epoch.as_str() {
                "0" => String::new(),
                epoch => format!("{epoch}:"),
            };
            database.packages.push(Package {
                name: record.name.clone(),
                version: format!("{epoch}{}-{}", record.version, record.release),
                architecture: record.architecture.clone(),
                separators: ['-', '.'],
            });
            database
                .by_name
                .entry(record.name.clone())
                .or_default()
                .push(id);
            for capability in &record.provides {
                let by = database
                    .provided
                    .entry(capability.name.clone())
                    .or_default();
                by.push((id, capability.clone()));
            }
            for file in &record.files {
                database
                    .owners
                    .entry(file.path.clone())
                    .or_default()
                    .push(id);
            }
        }
        database.records = records;
        database
    }

    /// Who provides a capability: by name and version, or by owning the path.
    fn providers(&self, wanted: &Capability, versions: bool) -> Vec<PackageId> {
        let provided = self.provided.get(&wanted.name).into_iter().flatten();
        let mut ids: Vec<PackageId> = provided
            .filter(|(_, offered)| !versions || overlap(wanted, offered))
            .map(|(id, _)| *id)
            .collect();
        if wanted.name.starts_with('/')
            && let Some(owners) = self.owners.get(Path::new(&wanted.name))
        {
            ids.extend(owners);
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The provider that counts: one that is chosen already, else the one with
    /// the shortest name, as rpm and supermin prefer.
    fn best(&self, mut ids: Vec<PackageId>, chosen: &[bool]) -> Option<PackageId> {
        ids.sort_by_key(|&id| (!chosen[id], self.packages[id].name.len(), id));
        ids.first().copied()
    }

    /// Adds what `rich` asks for to `found`; whether it can be satisfied.
    fn satisfy(&self, rich: &Rich, chosen: &[bool], found: &mut Vec<PackageId>) -> bool {
        match rich {
            Rich::Plain(capability) => {
                let best = self.best(self.providers(capability, true), chosen);
                found.extend(best);
                best.is_some()
            }
            Rich::Any(operands) => {
                let satisfied = |operand| {
                    let mut ids = Vec::new();
                    self.satisfy(operand, chosen, &mut ids).then_some(ids)
                };
                let answers: Vec<_> = operands.iter().filter_map(satisfied).collect();
                let ready = answers.iter().find(|ids| ids.iter().all(|&id| chosen[id]));
                match ready.or(answers.first()) {
                    Some(ids) => found.extend(ids),
                    None => return false,
                }
                true
            }
            Rich::All(operands) => {
                // Every operand is tried, so that as much as can be is there.
                let mut all = true;
                for operand in operands {
                    all &= self.satisfy(operand, chosen, found);
                }
                all
            }
            Rich::First(operands) => operands
                .first()
                .is_some_and(|operand| self.satisfy(operand, chosen, found)),
            Rich::When {
                what,
                condition,
                present,
                otherwise,
            } => {
                // On an installed system a condition holds if it is installed.
                let holds = self.satisfy(condition, chosen, &mut Vec::new());
                if holds == *present {
                    self.satisfy(what, chosen, found)
                } else {
                    otherwise
                        .as_ref()
                        .is_none_or(|otherwise| self.satisfy(otherwise, chosen, found))
                }
            }
        }
    }

    fn required(&self, id: PackageId, resolution: Resolution, chosen: &[bool]) -> Vec<PackageId> {
        let mut found = Vec::new();
        for wanted in &self.records[id].requires {
            if wanted.name.starts_with("rpmlib(") {
                continue; // a feature of rpm itself
            }
            match resolution {
                Resolution::Compatible => {
                    let ids = self.providers(wanted, false);
                    found.extend(self.best(ids, &vec![false; self.packages.len()]));
                }
                Resolution::Correct => {
                    let rich = wanted
                        .name
                        .starts_with('(')
                        .then(|| rich::parse(&wanted.name));
                    let rich = rich
                        .flatten()
                        .unwrap_or_else(|| Rich::Plain(wanted.clone()));
                    self.satisfy(&rich, chosen, &mut found);
                }
            }
        }
        found
    }
}

impl PackageDatabase for Rpm {
    fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The newest package called `name`, or the only one that provides it.
    fn find(&self, name: &str) -> Option<PackageId> {
        if let Some(ids) = self.by_name.get(name) {
            return ids.first().copied();
        }
        let wanted = Capability {
            name: name.to_owned(),
            ..Capability::default()
        };
        match self.providers(&wanted, false)[..] {
            [id] => Some(id),
            _ => None,
        }
    }

    fn known_as(&self, name: &str) -> Vec<PackageId> {
        let wanted = Capability {
            name: name.to_owned(),
            ..Capability::default()
        };
        self.providers(&wanted, false)
    }

    fn closure(&self, roots: &[PackageId], resolution: Resolution) -> Vec<PackageId> {
        reachable(&self.packages, roots, |id, chosen| {
            self.required(id, resolution, chosen)
        })
    }

    fn files(&self, packages: &[PackageId]) -> Result<Vec<PackageFile>> {
        let mut found = BTreeMap::new();
        for &package in packages {
            for file in &self.records[package].files {
                found
                    .entry(file.path.clone())
                    .or_insert_with(|| PackageFile {
                        path: file.path.clone(),
                        source: file.path.clone(),
                        package,
                        config: file.config,
                    });
            }
        }
        Ok(found.into_values().collect())
    }

    fn config_files(&self, packages: &[PackageId]) -> Result<Vec<ConfigFile>> {
        let mut found = BTreeMap::new();
        for &package in packages {
            let config = self.records[package]
                .files
                .iter()
                .filter(|file| file.config);
            for file in config {
                let real = below(&self.root, &file.path);
                let regular = real.symlink_metadata().map(|meta| meta.is_file());
                let state = match regular {
                    Err(_) => ConfigState::Missing,
                    // Directories and symlinks have no content to edit.
                    Ok(false) => ConfigState::Pristine,
                    Ok(true) => match files::read(&real) {
                        Err(_) => ConfigState::Unreadable,
                        Ok(content) if hex(&Sha256::digest(&content)) == file.digest => {
                            ConfigState::Pristine
                        }
                        Ok(_) => ConfigState::Edited,
                    },
                };
                let path = file.path.clone();
                found.insert(path.clone(), ConfigFile { path, state });
            }
        }
        Ok(found.into_values().collect())
    }

    fn digest(&self, package: PackageId, path: &Path) -> Result<Option<String>> {
        let mut known = self.records[package].files.iter();
        let file = known.find(|file| file.path == path && !file.digest.is_empty());
        Ok(file.map(|file| file.digest.clone()))
    }
}

fn newest_first(a: &Record, b: &Record) -> Ordering {
    rpm_version::rpm_evr_compare(&b.evr(), &a.evr())
}

/// Whether a version within `wanted` can be one within `offered`.
fn overlap(wanted: &Capability, offered: &Capability) -> bool {
    const LESS: u64 = 2;
    const GREATER: u64 = 4;
    const EQUAL: u64 = 8;
    if wanted.sense == 0 || offered.sense == 0 {
        return true;
    }
    let both = |bit| wanted.sense & bit != 0 && offered.sense & bit != 0;
    match compare(&offered.version, &wanted.version) {
        Ordering::Less => offered.sense & GREATER != 0 || wanted.sense & LESS != 0,
        Ordering::Greater => offered.sense & LESS != 0 || wanted.sense & GREATER != 0,
        Ordering::Equal => both(EQUAL) || both(LESS) || both(GREATER),
    }
}

/// The order of two EVRs, where a release is compared only if both have one.
fn compare(a: &str, b: &str) -> Ordering {
    let without = |text: &str| text.rsplit_once('-').map_or(text, |(v, _)| v).to_owned();
    if a.contains('-') && b.contains('-') {
        rpm_version::rpm_evr_compare(a, b)
    } else {
        rpm_version::rpm_evr_compare(&without(a), &without(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "\
P\tapp\t0\t1\t1\tnoarch\nR\t/bin/sh\t0\t\nR\tlib\t12\t2\nR\t(nano or vim)\t0\t\nR\trpmlib(X)\t10\t1\nV\tapp\t8\t1-1
P\tbash\t0\t5\t1\tx86_64\nV\tbash\t8\t5-1\nF\t/bin/sh\t0\t
P\tlib\t0\t1\t1\tx86_64\nV\tlib\t8\t1-1
P\tlib\t0\t10\t1\tx86_64\nV\tlib\t8\t10-1
P\tvim\t0\t9\t1\tx86_64\nV\tvim\t8\t9-1
P\tgpg-pubkey\t0\t1\t1\t(none)\n";

    fn database() -> Rpm {
        Rpm::new(Path::new("/"), query::parse(SYSTEM).unwrap())
    }

    #[test]
    fn files_versions_and_rich_dependencies_are_followed() {
        let database = database();
        let ids = database.closure(&[database.find("app").unwrap()], Resolution::Correct);
        let names: Vec<_> = ids
            .iter()
            .map(|&id| database.packages()[id].to_string())
            .collect();
        assert_eq!(
            names,
            [
                "app-1-1.noarch",
                "bash-5-1.x86_64",
                "lib-10-1.x86_64",
                "vim-9-1.x86_64"
            ]
        );
    }

    #[test]
    fn the_newest_of_a_name_is_found_and_sole_providers_too() {
        let database = database();
        assert_eq!(
            database.packages()[database.find("lib").unwrap()].version,
            "10-1"
        );
        assert_eq!(
            database.packages()[database.find("/bin/sh").unwrap()].name,
            "bash"
        );
        assert_eq!(database.find("gpg-pubkey"), None);
    }

    #[test]
    fn bounds_overlap_as_in_rpm() {
        let capability = |sense, version: &str| Capability {
            name: "x".into(),
            sense,
            version: version.into(),
        };
        for (wanted, offered, expected) in [
            ((12, "2"), (8, "2-1"), true),
            ((4, "2-1"), (8, "2-1"), false),
            ((2, "1:1"), (8, "5-1"), true),
            ((8, "2-3"), (8, "2-1"), false),
            ((8, "2"), (0, ""), true),
        ] {
            let overlap = overlap(
                &capability(wanted.0, wanted.1),
                &capability(offered.0, offered.1),
            );
            assert_eq!(overlap, expected, "{wanted:?} {offered:?}");
        }
    }
}
