//! From a list of packages to a skeleton, as `supermin --prepare` makes it: the
//! names, and the configuration files that their packages and all those they
//! depend on bring.

use super::archive::{Member, pack};
use crate::glob::below;
use crate::host::{ConfigState, Host, PackageFile, PackageId, Resolution, download};
use crate::{Error, Result, files, timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Packages that were asked for, and what they bring with them.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Those that were named, sorted by name.
    pub named: Vec<PackageId>,
    /// Names that this host knows no package for.
    pub unknown: Vec<String>,
    /// Those that were named and all that they depend on.
    pub closure: Vec<PackageId>,
}

/// The configuration files that go into the base image.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The files that can be taken from this host.
    pub members: Vec<Member>,
    /// Those that are not as their package brought them, so that they have to
    /// come from the package itself.
    pub changed: BTreeMap<PackageId, Vec<PathBuf>>,
}

/// The packages that `names` mean on `host`; it is an error if there is none.
pub fn select(names: &[String], host: &Host) -> Result<Selection> {
    let database = host.packages()?;
    let mut selection = Selection::default();
    let mut named = BTreeMap::new();
    for name in names {
        match database.find_as(name, Resolution::Compatible) {
            Some(id) => _ = named.insert(&database.packages()[id].name, id),
            None => selection.unknown.push(name.clone()),
        }
    }
    if named.is_empty() {
        return Err(Error::host(
            "prepare: none of the packages listed on the command line seem to be installed",
        )
        .hint("install them: a skeleton is made from installed packages"));
    }
    selection.named = named.into_values().collect();
    selection.closure = database.closure(&selection.named, Resolution::Compatible);
    Ok(selection)
}

/// The configuration files of `packages`: with `as_they_are` those of the host,
/// else only those that nobody has changed.
///
/// A file that cannot be read is left out with the former, and counts as
/// changed with the latter.
pub fn configuration(
    packages: &[PackageId],
    host: &Host,
    as_they_are: bool,
) -> Result<Configuration> {
    let database = host.packages()?;
    let states: HashMap<PathBuf, ConfigState> = database
        .config_files(packages)?
        .into_iter()
        .map(|file| (file.path, file.state))
        .collect();
    let mut configuration = Configuration {
        members: Vec::new(),
        changed: BTreeMap::new(),
    };
    let limit = timestamp::source_date_epoch(u32::MAX)?;
    let listed: BTreeSet<PathBuf> = states.keys().cloned().collect();
    for file in database.files(packages)? {
        let known = states.get(&file.path);
        let ghost = known == Some(&ConfigState::Ghost) && !as_they_are;
        if ghost || !file.config && !listed.contains(&file.path) {
            continue;
        }
        if as_they_are || known == Some(&ConfigState::Pristine) {
            configuration.members.extend(member(&file, host, limit)?);
        } else {
            let changed = configuration.changed.entry(file.package).or_default();
            changed.push(file.path);
        }
    }
    Ok(configuration)
}

/// The file as a member of the base image, if it is a regular file that this
/// user may read.  Its owner is root, as supermin has it.
fn member(file: &PackageFile, host: &Host, limit: u32) -> Result<Option<Member>> {
    let real = below(host.root(), &file.source);
    let Ok(meta) = real.symlink_metadata() else {
        return Ok(None);
    };
    if !meta.is_file() || files::open(&real).is_err() {
        return Ok(None);
    }
    let time = u32::try_from(meta.mtime()).unwrap_or(0).min(limit);
    let mode = (meta.mode() & 0o7777) as u16;
    Ok(Some(Member::file(
        &file.path,
        mode,
        time,
        files::read(&real)?,
    )))
}

impl Configuration {
    /// Downloads the packages whose files were changed, and takes these from
    /// them; `config` is a configuration file for the package manager.
    ///
    /// What comes back is what the user should know: the commands that were
    /// run, other versions, files that no package has.
    pub fn download(&mut self, host: &Host, config: Option<&Path>) -> Result<Vec<String>> {
        let wanted: Vec<_> = std::mem::take(&mut self.changed).into_iter().collect();
        let options = download::Options { config };
        let downloaded =
            download::configuration(host, &wanted, options).map_err(|e| match e.advice() {
                Some(_) => e,
                None => {
                    e.hint("to take configuration files as they are here, give --use-installed")
                }
            })?;
        let limit = timestamp::source_date_epoch(u32::MAX)?;
        self.members
            .extend(downloaded.files.into_iter().map(|file| {
                let time = u32::try_from(file.mtime).unwrap_or(0).min(limit);
                Member::file(file.path, file.mode, time, file.content)
            }));
        Ok([downloaded.commands, downloaded.notes].concat())
    }
}

/// The files of the skeleton: `packages`, and `base.tar.gz` unless it would be
/// empty, which supermin does not accept.
pub fn skeleton(
    selection: &Selection,
    members: &mut Vec<Member>,
    host: &Host,
) -> Result<BTreeMap<&'static str, Vec<u8>>> {
    let database = host.packages()?;
    let names = selection
        .named
        .iter()
        .map(|&id| &database.packages()[id].name);
    let list: String = names.map(|name| format!("{name}\n")).collect();
    let mut made = BTreeMap::from([("packages", list.into_bytes())]);
    members.sort_by(|a, b| a.path.cmp(&b.path));
    members.dedup_by(|a, b| a.path == b.path);
    if !members.is_empty() {
        made.insert("base.tar.gz", pack(members)?);
    }
    Ok(made)
}
