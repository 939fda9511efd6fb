//! pacman's local database, read directly.

mod text;
mod version;

use super::checksum;
use super::packages::{
    ConfigFile, Package, PackageDatabase, PackageFile, PackageId, Resolution, once_each, reachable,
};
use super::relation::{Names, Relation};
use crate::compression::decompress;
use crate::glob::below;
use crate::{Error, Result, files};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The directory with a directory for each installed package.
pub const LOCAL: &str = "/var/lib/pacman/local";

/// More than any real `mtree` has: that of a package with a million files.
const MTREE_LIMIT: u64 = 512 << 20;

/// The installed packages of an Arch Linux system.
#[derive(Debug)]
pub struct Pacman {
    root: PathBuf,
    packages: Vec<Package>,
    details: Vec<Details>,
    names: Names,
}

#[derive(Debug)]
struct Details {
    /// Its directory below [`LOCAL`].
    directory: PathBuf,
    depends: Vec<Relation>,
}

impl Pacman {
    /// Reads the database below `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let local = below(root, Path::new(LOCAL));
        let cannot = |e| Error::io("cannot list", &local, e);
        let mut directories = Vec::new();
        for entry in std::fs::read_dir(&local).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            // Beside them lies the file ALPM_DB_VERSION.
            if entry.file_type().map_err(cannot)?.is_dir() {
                directories.push(entry.path());
            }
        }
        directories.sort();
        let mut descriptions = Vec::new();
        for directory in directories {
            let path = directory.join("desc");
            // pacman passes over one that was left unfinished, with a warning.
            if path.exists() {
                descriptions.push((directory, files::read(path)?));
            }
        }
        Ok(Self::new(root, &descriptions))
    }

    fn new(root: &Path, descriptions: &[(PathBuf, Vec<u8>)]) -> Self {
        let mut records = Vec::new();
        for (directory, text) in descriptions {
            let sections = text::sections(text);
            let lines = |key: &str| -> Vec<String> {
                let lines = sections.get(key.as_bytes()).into_iter().flatten();
                lines
                    .map(|line| String::from_utf8_lossy(line).into_owned())
                    .collect()
            };
            let relations = |key| -> Vec<Relation> {
                let lines = lines(key);
                lines.iter().filter_map(|l| Relation::parse(l)).collect()
            };
            let first = |key| lines(key).into_iter().next().unwrap_or_default();
            let package = Package {
                name: first("NAME"),
                version: first("VERSION"),
                architecture: first("ARCH"),
                separators: ['-', '.'],
            };
            let details = Details {
                directory: directory.clone(),
                depends: relations("DEPENDS"),
            };
            if !package.name.is_empty() {
                records.push((package, details, relations("PROVIDES")));
            }
        }
        records.sort_by(|(a, ..), (b, ..)| a.name.cmp(&b.name));
        let mut database = Self {
            root: root.to_owned(),
            packages: Vec::new(),
            details: Vec::new(),
            names: Names::default(),
        };
        for (id, (package, details, provides)) in records.into_iter().enumerate() {
            database.names.add(id, &package.name, provides);
            database.packages.push(package);
            database.details.push(details);
        }
        database
    }

    /// The package that satisfies `wanted`, as libalpm chooses it.
    fn satisfying(&self, wanted: &Relation) -> Option<PackageId> {
        self.names
            .satisfying(&self.packages, wanted, |bound, version| {
                bound.admits(version::compare(version, &bound.version))
            })
    }

    /// The paths of a package as `pacman -Ql` lists them, without the slash
    /// that ends a directory.
    fn list(&self, id: PackageId) -> Result<Vec<PathBuf>> {
        let text = files::read(self.details[id].directory.join("files"))?;
        let sections = text::sections(&text);
        let lines = sections.get(&b"FILES"[..]).into_iter().flatten();
        Ok(lines
            .map(|line| text::absolute(line.strip_suffix(b"/").unwrap_or(line).to_vec()))
            .collect())
    }

    /// Path and digest of each regular file below /etc.
    fn configuration(&self, id: PackageId) -> Result<BTreeMap<PathBuf, String>> {
        let directory = &self.details[id].directory;
        let mut found = BTreeMap::new();
        let path = directory.join("mtree");
        // Packages made by other tools than makepkg may have none.
        if path.exists() {
            let packed = files::read(&path)?;
            let text = decompress(&path.to_string_lossy(), packed, MTREE_LIMIT)?;
            found.extend(text::mtree(&text));
        }
        let text = files::read(directory.join("files"))?;
        for line in text::sections(&text)
            .get(&b"BACKUP"[..])
            .into_iter()
            .flatten()
        {
            // `path<TAB>MD5`; a file that the package lacks has `(null)`.
            let mut words = line.rsplitn(2, |&byte| byte == b'\t');
            if let (Some(digest), Some(path)) = (words.next(), words.next())
                && digest.len() == 32
            {
                let digest = String::from_utf8_lossy(digest).into_owned();
                found.insert(text::absolute(path.to_vec()), digest);
            }
        }
        found.retain(|path, _| path.starts_with("/etc"));
        Ok(found)
    }
}

impl PackageDatabase for Pacman {
    fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// As `pacman -Q`: the package called `name`, else the first that provides it.
    fn find(&self, name: &str) -> Option<PackageId> {
        self.satisfying(&Relation::parse(name)?)
    }

    fn closure(&self, roots: &[PackageId], resolution: Resolution) -> Vec<PackageId> {
        reachable(&self.packages, roots, |id, _| {
            let depends = self.details[id].depends.iter();
            match resolution {
                // pactree, which supermin asks, looks for names alone.
                Resolution::Compatible => depends
                    .filter_map(|wanted| self.satisfying(&wanted.unbounded()))
                    .collect(),
                Resolution::Correct => depends
                    .filter_map(|wanted| self.satisfying(wanted))
                    .collect(),
            }
        })
    }

    fn files(&self, packages: &[PackageId]) -> Result<Vec<PackageFile>> {
        let mut found = Vec::new();
        for &package in packages {
            let paths = self.list(package)?.into_iter();
            found.extend(paths.map(|path| PackageFile::plain(&self.root, path, package)));
        }
        Ok(once_each(found, |file| &file.path))
    }

    fn config_files(&self, packages: &[PackageId]) -> Result<Vec<ConfigFile>> {
        let mut found = Vec::new();
        for &package in packages {
            for (path, digest) in self.configuration(package)? {
                if let Some(state) = checksum::state(&below(&self.root, &path), &digest) {
                    found.push(ConfigFile { path, state });
                }
            }
        }
        Ok(once_each(found, |file| &file.path))
    }

    fn digest(&self, package: PackageId, path: &Path) -> Result<Option<String>> {
        Ok(self.configuration(package)?.remove(path))
    }
}
