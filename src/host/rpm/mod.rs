//! The RPM database: SQLite is read directly, other formats through the `rpm`
//! command.

mod catalogue;
mod config;
mod header;
mod query;
mod record;
mod resolve;
mod rich;
mod sqlite;

use super::packages::{
    ConfigFile, Package, PackageDatabase, PackageFile, PackageId, Resolution, reachable,
};
use crate::glob::below;
use crate::{Error, Result};
use catalogue::Catalogue;
use query::Format;
use record::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the database may lie, by format and age of the system.
pub const DATABASES: [&str; 7] = [
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite-wal",
    "/var/lib/rpm/Packages.db",
    "/var/lib/rpm/Packages",
];

/// The table of headers in rpmdb.sqlite.
const TABLE: &str = "Packages";

/// The installed packages of an RPM system.
#[derive(Debug)]
pub struct Rpm {
    root: PathBuf,
    packages: Vec<Package>,
    catalogue: Catalogue,
}

impl Rpm {
    /// Reads the database of the system below `root`: the first there is of
    /// [`DATABASES`].
    pub fn open(root: &Path) -> Result<Self> {
        let paths = DATABASES.iter().map(|path| below(root, Path::new(path)));
        let path = paths
            .filter(|path| path.extension().is_none_or(|end| end != "sqlite-wal"))
            .find(|path| path.exists())
            .ok_or_else(|| {
                Error::host(format!("there is no RPM database below `{}`", root.display())).hint(
                    "look with `rpm --eval %{_dbpath}`: only /usr/lib/sysimage/rpm and /var/lib/rpm are searched",
                )
            })?;
        Ok(Self::new(root, read(&path)?))
    }

    /// What `package` requires, as `rpm -q --requires` shows it: weak
    /// dependencies are not among them.
    pub fn requires(&self, package: PackageId) -> Vec<String> {
        let required = self.catalogue.records[package].requires.iter();
        required.map(ToString::to_string).collect()
    }

    /// What `package` provides, as `rpm -q --provides` shows it.
    pub fn provides(&self, package: PackageId) -> Vec<String> {
        let provided = self.catalogue.records[package].provides.iter();
        provided.map(ToString::to_string).collect()
    }

    /// Who provides a capability or owns a path, as `rpm -q --whatprovides` says.
    pub fn what_provides(&self, name: &str) -> Vec<PackageId> {
        self.catalogue.what_provides(name)
    }

    fn new(root: &Path, records: Vec<Record>) -> Self {
        let catalogue = Catalogue::new(root, records);
        let packages = catalogue.records.iter().map(|record| {
            let epoch = match record.epoch {
                0 => String::new(),
                epoch => format!("{epoch}:"),
            };
            Package {
                name: record.name.clone(),
                version: format!("{epoch}{}-{}", record.version, record.release),
                architecture: record.architecture.clone(),
                separators: ['-', '.'],
            }
        });
        Self {
            root: root.to_owned(),
            packages: packages.collect(),
            catalogue,
        }
    }
}

/// The packages in the database at `path`, whose name tells its format.
fn read(path: &Path) -> Result<Vec<Record>> {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("Packages") => query::records(path, Format::Bdb),
        Some("Packages.db") => query::records(path, Format::Ndb),
        _ => sqlite::blobs(path, TABLE, header::parse),
    }
}

impl PackageDatabase for Rpm {
    fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// A package called `name`: of this machine or of none, the newest; or
    /// `name.architecture`; or the only package that provides `name`.
    fn find(&self, name: &str) -> Option<PackageId> {
        self.catalogue.find(name, Resolution::Correct)
    }

    fn find_as(&self, name: &str, resolution: Resolution) -> Option<PackageId> {
        self.catalogue.find(name, resolution)
    }

    fn known_as(&self, name: &str) -> Vec<PackageId> {
        self.catalogue.what_provides(name)
    }

    fn closure(&self, roots: &[PackageId], resolution: Resolution) -> Vec<PackageId> {
        match resolution {
            Resolution::Compatible => {
                let mut compatible = resolve::Compatible::new(&self.catalogue);
                reachable(&self.packages, roots, |id, _| compatible.required(id))
            }
            Resolution::Correct => {
                let mut ids = resolve::correct(&self.catalogue, roots);
                // Packages are numbered in the order of their names.
                ids.sort_unstable();
                ids
            }
        }
    }

    fn files(&self, packages: &[PackageId]) -> Result<Vec<PackageFile>> {
        let mut found = BTreeMap::new();
        for &package in packages {
            for file in &self.catalogue.records[package].files {
                found.entry(&file.path).or_insert_with(|| PackageFile {
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
            let record = &self.catalogue.records[package];
            for file in record.files.iter().filter(|file| file.config) {
                let real = below(&self.root, &file.path);
                let state = config::state(file, record.digest_algorithm, &real);
                let path = file.path.clone();
                found.insert(path.clone(), ConfigFile { path, state });
            }
        }
        Ok(found.into_values().collect())
    }

    fn digest(&self, package: PackageId, path: &Path) -> Result<Option<String>> {
        let mut known = self.catalogue.records[package].files.iter();
        let file = known.find(|file| file.path == path && !file.digest.is_empty());
        Ok(file.map(|file| file.digest.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "\
P\tapp\t0\t1\t1\tnoarch\t8\nR\t/bin/sh\t0\t\nR\tlib\t12\t2\nR\t(nano or vim)\t0\t\nR\trpmlib(X)\t10\t1\nV\tapp\t8\t1-1
P\tbash\t0\t5\t1\tnoarch\t8\nV\tbash\t8\t5-1\nF\t/bin/sh\t0\t0\t\t
P\tlib\t0\t1\t1\tnoarch\t8\nV\tlib\t8\t1-1
P\tlib\t0\t10\t1\tnoarch\t8\nV\tlib\t8\t10-1\nR\tpager\t0\t
P\tmore\t0\t1\t1\tnoarch\t8\nV\tpager\t0\t
P\tvim\t0\t9\t1\tnoarch\t8\nV\tvim\t8\t9-1\nV\tpager\t0\t\nR\t(lib if more)\t0\t\nR\t(app with pager)\t0\t
P\tgpg-pubkey\t0\t1\t1\t(none)\t(none)\n";

    fn database() -> Rpm {
        Rpm::new(Path::new("/"), query::parse(SYSTEM).unwrap())
    }

    fn closure(name: &str, resolution: Resolution) -> Vec<String> {
        let database = database();
        let root = database.find_as(name, resolution).unwrap();
        let ids = database.closure(&[root], resolution);
        ids.iter()
            .map(|&id| database.packages()[id].to_string())
            .collect()
    }

    #[test]
    fn files_versions_and_rich_dependencies_are_followed() {
        assert_eq!(
            closure("app", Resolution::Correct),
            [
                "app-1-1.noarch",
                "bash-5-1.noarch",
                "lib-10-1.noarch",
                // For `app`, and so for the pager of `lib`.
                "vim-9-1.noarch"
            ]
        );
    }

    #[test]
    fn supermin_takes_the_first_in_the_database_and_the_shortest_name() {
        assert_eq!(
            closure("app", Resolution::Compatible),
            ["app-1-1.noarch", "bash-5-1.noarch", "lib-1-1.noarch"]
        );
        assert_eq!(
            closure("/bin/sh", Resolution::Compatible),
            ["bash-5-1.noarch"]
        );
    }

    #[test]
    fn the_newest_of_a_name_is_found_and_sole_providers_too() {
        let database = database();
        let found = |name: &str| Some(database.packages()[database.find(name)?].to_string());
        assert_eq!(found("lib").unwrap(), "lib-10-1.noarch");
        assert_eq!(found("lib.noarch").unwrap(), "lib-10-1.noarch");
        assert_eq!(found("/bin/sh").unwrap(), "bash-5-1.noarch");
        for name in ["gpg-pubkey", "pager", "lib.i686", "/bin/ksh"] {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
