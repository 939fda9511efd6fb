//! Which package of this host has what is missing.

use super::inside::PATH;
use super::{Kind, Subject};
use crate::Result;
use crate::appliance::plan::Origin;
use crate::glob::{Pattern, below};
use crate::host::PackageId;
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Finds cures; the host's file lists are read only when one is asked for.
pub(super) struct Cures<'a> {
    subject: &'a Subject<'a>,
    owners: OnceCell<HashMap<PathBuf, PackageId>>,
    /// Names of the packages that are in the appliance.
    inside: HashSet<&'a str>,
}

impl<'a> Cures<'a> {
    pub(super) fn new(subject: &'a Subject<'a>) -> Self {
        let origins = subject.plan.entries.iter().map(|entry| &entry.origin);
        let inside = origins.filter_map(|origin| match origin {
            Origin::Package(name) => Some(&**name),
            _ => None,
        });
        Self {
            subject,
            owners: OnceCell::new(),
            inside: inside.collect(),
        }
    }

    /// How `path` gets into the appliance.
    pub(super) fn path(&self, path: &Path) -> Result<String> {
        self.path_or(path, || {
            "install the package that has it, and add that to `packages`".into()
        })
    }

    /// The same; `otherwise` where this host knows nothing of it.
    pub(super) fn path_or(
        &self,
        path: &Path,
        otherwise: impl FnOnce() -> String,
    ) -> Result<String> {
        Ok(match self.owner(path)? {
            Some((owned, id)) => self.add(&owned, id)?,
            None if self.on_host(path).is_file() => format!(
                "no package owns it; name it in `host_files`, or put a copy of `{}` into `files`",
                path.display()
            ),
            None => otherwise(),
        })
    }

    /// How the command `name`, or the program with this path, gets in.
    pub(super) fn command(&self, name: &str) -> Result<String> {
        if name.contains('/') {
            return self.path(Path::new(name));
        }
        let paths = PATH.iter().map(|directory| Path::new(directory).join(name));
        for path in paths.clone() {
            if let Some((owned, id)) = self.owner(&path)? {
                return self.add(&owned, id);
            }
        }
        match paths.into_iter().find(|path| self.on_host(path).exists()) {
            Some(path) => self.path(&path),
            None => self.path(Path::new(name)),
        }
    }

    /// Whether this host has the command `name`.
    pub(super) fn has_command(&self, name: &str) -> Result<bool> {
        if name.contains('/') {
            return Ok(self.owner(Path::new(name))?.is_some());
        }
        Ok(PATH
            .iter()
            .any(|directory| self.on_host(&Path::new(directory).join(name)).exists()))
    }

    /// How the library `name` gets in.
    pub(super) fn library(&self, name: &str) -> Result<String> {
        match self.library_owner(name)? {
            Some((path, id)) => self.add(&path, id),
            None => self.path(Path::new(name)),
        }
    }

    fn library_owner(&self, name: &str) -> Result<Option<(PathBuf, PackageId)>> {
        let owners = self.owners()?.iter();
        let found = owners.filter(|(path, _)| path.file_name().is_some_and(|file| file == name));
        Ok(found.min().map(|(path, id)| (path.clone(), *id)))
    }

    /// Whether this host has what is missing.
    pub(super) fn knows(&self, kind: Kind, missing: &str) -> Result<bool> {
        Ok(match kind {
            Kind::Library => self.library_owner(missing)?.is_some(),
            _ if missing.contains('/') => self.on_host(Path::new(missing)).exists(),
            _ => self.has_command(missing)?,
        })
    }

    /// How the package `id` with `path` gets in.
    fn add(&self, path: &Path, id: PackageId) -> Result<String> {
        let database = self.subject.host.packages()?;
        let name = &database.packages()[id].name;
        if self.inside.contains(name.as_str()) {
            for text in &self.subject.description.exclude {
                if Pattern::new(text)?.matches(path) {
                    return Ok(format!(
                        "the package `{name}` is in the appliance, but `exclude` leaves it out with `{text}`"
                    ));
                }
            }
            return Ok(format!(
                "the package `{name}` should have brought `{}`; look at what `freezedry rehydrate --explain` says of it",
                path.display()
            ));
        }
        let list = if self.subject.description.packages.families.is_empty() {
            "packages".to_owned()
        } else {
            format!("packages.{}", self.subject.host.family())
        };
        let remark = if database.essential().contains(&id) {
            "; it is Essential in Debian, so that no package depends on it"
        } else {
            ""
        };
        Ok(format!("add `{name}` to `{list}`{remark}"))
    }

    /// The owner of `path` on this host, and the path as the owner has it: with
    /// or without `/usr`, or where symlinks of this host lead.
    fn owner(&self, path: &Path) -> Result<Option<(PathBuf, PackageId)>> {
        if !path.is_absolute() {
            return Ok(None);
        }
        let owners = self.owners()?;
        let twin = match path.strip_prefix("/usr") {
            Ok(rest) => Path::new("/").join(rest),
            Err(_) => Path::new("/usr").join(path.strip_prefix("/").unwrap_or(path)),
        };
        let mut candidates = vec![path.to_owned(), twin];
        let root = self.subject.host.root();
        if let Ok(real) = self.on_host(path).canonicalize()
            && let Ok(inside) = real.strip_prefix(root)
        {
            let real = Path::new("/").join(inside);
            if let Ok(rest) = real.strip_prefix("/usr") {
                candidates.push(Path::new("/").join(rest));
            }
            candidates.push(real);
        }
        let found = candidates.into_iter().find_map(|path| {
            let id = *owners.get(&path)?;
            Some((path, id))
        });
        Ok(found)
    }

    fn on_host(&self, path: &Path) -> PathBuf {
        below(self.subject.host.root(), path)
    }

    fn owners(&self) -> Result<&HashMap<PathBuf, PackageId>> {
        if let Some(owners) = self.owners.get() {
            return Ok(owners);
        }
        let database = self.subject.host.packages()?;
        let all: Vec<PackageId> = (0..database.packages().len()).collect();
        let files = database.files(&all)?;
        let owners = files.into_iter().map(|file| (file.path, file.package));
        Ok(self.owners.get_or_init(|| owners.collect()))
    }
}
