//! apk's database, read directly.

mod installed;
mod version;

use super::checksum;
use super::packages::{
    ConfigFile, Package, PackageDatabase, PackageFile, PackageId, Resolution, once_each, reachable,
};
use super::relation::{Bound, Names, Relation};
use crate::glob::below;
use crate::{Result, files};
use installed::Listed;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The file with every installed package.
pub const INSTALLED: &str = "/lib/apk/db/installed";

/// The installed packages of an Alpine Linux system.
#[derive(Debug)]
pub struct Apk {
    root: PathBuf,
    packages: Vec<Package>,
    details: Vec<Details>,
    names: Names,
}

#[derive(Debug)]
struct Details {
    depends: Vec<Relation>,
    paths: Vec<PathBuf>,
    /// What is below /etc and no directory, and the SHA-1 of each where it is known.
    configuration: Vec<(PathBuf, String)>,
}

impl Apk {
    /// Reads the database below `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let text = files::read(below(root, Path::new(INSTALLED)))?;
        Ok(Self::new(root, &text))
    }

    fn new(root: &Path, text: &[u8]) -> Self {
        let mut database = Self {
            root: root.to_owned(),
            packages: Vec::new(),
            details: Vec::new(),
            names: Names::default(),
        };
        for (id, record) in installed::parse(text).into_iter().enumerate() {
            let provides = record.provides.split_whitespace();
            let provides = provides.filter_map(Relation::parse).collect();
            database.names.add(id, record.name, provides);
            let mut details = Details {
                // What is installed has none of what must be absent.
                depends: (record.depends.split_whitespace())
                    .filter(|word| !word.starts_with('!'))
                    .filter_map(Relation::parse)
                    .collect(),
                paths: Vec::new(),
                configuration: Vec::new(),
            };
            for listed in &record.paths {
                let path = absolute(listed);
                if let Listed::File { checksum, .. } = listed
                    && path.starts_with("/etc")
                {
                    let digest = checksum.and_then(installed::digest).unwrap_or_default();
                    details.configuration.push((path.clone(), digest));
                }
                // `F:` alone is the root directory.
                if path != Path::new("/") {
                    details.paths.push(path);
                }
            }
            database.details.push(details);
            database.packages.push(Package {
                name: record.name.to_owned(),
                version: record.version.to_owned(),
                architecture: record.architecture.to_owned(),
                separators: ['-', '.'],
            });
        }
        database
    }

    fn satisfying(&self, wanted: &Relation) -> Option<PackageId> {
        self.names.satisfying(&self.packages, wanted, admits)
    }
}

fn admits(bound: &Bound, version: &str) -> bool {
    // `><` and a checksum name one build of a package: the one installed.
    bound.version.starts_with("Q1")
        || bound.prefix && version::begins_with(version, &bound.version)
        || bound.admits(version::compare(version, &bound.version))
}

fn absolute(listed: &Listed<'_>) -> PathBuf {
    let root = Path::new("/");
    match listed {
        Listed::Directory(path) => root.join(OsStr::from_bytes(path)),
        Listed::File {
            directory, name, ..
        } => root
            .join(OsStr::from_bytes(directory))
            .join(OsStr::from_bytes(name)),
    }
}

impl PackageDatabase for Apk {
    fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// As `apk info -e`: the package called `name`, else the first that
    /// provides it (`/bin/sh`, `cmd:sh`, `so:libc.musl-x86_64.so.1`).
    fn find(&self, name: &str) -> Option<PackageId> {
        self.satisfying(&Relation::parse(name)?)
    }

    /// supermin knows no Alpine; the compatible way leaves versions out, as on
    /// the systems that it knows.
    fn closure(&self, roots: &[PackageId], resolution: Resolution) -> Vec<PackageId> {
        reachable(&self.packages, roots, |id, _| {
            let depends = self.details[id].depends.iter();
            match resolution {
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
            let paths = self.details[package].paths.iter().cloned();
            found.extend(paths.map(|path| PackageFile::plain(&self.root, path, package)));
        }
        Ok(once_each(found, |file| &file.path))
    }

    fn config_files(&self, packages: &[PackageId]) -> Result<Vec<ConfigFile>> {
        let mut found = Vec::new();
        for &package in packages {
            for (path, digest) in &self.details[package].configuration {
                if let Some(state) = checksum::state(&below(&self.root, path), digest) {
                    let path = path.clone();
                    found.push(ConfigFile { path, state });
                }
            }
        }
        Ok(once_each(found, |file| &file.path))
    }

    fn digest(&self, package: PackageId, path: &Path) -> Result<Option<String>> {
        let mut known = self.details[package].configuration.iter();
        let digest = known.find(|(known, _)| known == path);
        Ok(digest
            .map(|(_, digest)| digest.clone())
            .filter(|digest| !digest.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ConfigState;

    /// Written as apk-tools 2.14 and 3.0 write it, after Alpine's own packages.
    const SYSTEM: &str = "\
C:Q1Deb0jNytkrjPW4N/eKLZ43BwOlw=\nP:musl\nV:1.2.5-r0\nA:x86_64\np:so:libc.musl-x86_64.so.1=1\n\
F:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q12adwqQOjo9dFl+VJD2Ecd901vhE=\n\n\
P:busybox\nV:1.36.1-r28\nA:x86_64\nD:so:libc.musl-x86_64.so.1\np:cmd:busybox=1.36.1-r28\ni:x y\nF:bin\nR:busybox\n\
F:etc\nR:securetty\n\n\
P:busybox-binsh\nV:1.36.1-r28\nA:x86_64\nD:busybox=1.36.1-r28\nr:busybox\np:/bin/sh cmd:sh=1.36.1-r28\n\
F:bin\nR:sh\na:0:0:777\n\n\
P:old\nV:0.9-r0\nA:x86_64\np:lib=1\n\nP:new\nV:2.0_rc1-r0\nA:noarch\np:lib=2.1.3-r1 virtual\n\n\
P:app\nV:1-r0\nA:x86_64\nD:/bin/sh lib~2.1 !old virtual>1 missing musl>=1.2\nF:\nF:usr/share/a b\nR:c  d\n\
F:etc\nR:kept\nZ:Q1/bmIAyYt/evuPnUirdLBbtoU/zc=\nR:edited\nZ:Q1/bmIAyYt/evuPnUirdLBbtoU/zc=\nR:gone\n\
Z:Q1/bmIAyYt/evuPnUirdLBbtoU/zc=\nR:link\na:0:0:777\nZ:Q1kiljhXXH1LlQroHsEJIkPZg2eiw=\nR:unsummed\n";

    fn closure(name: &str, resolution: Resolution) -> Vec<String> {
        let database = Apk::new(Path::new("/"), SYSTEM.as_bytes());
        let ids = database.closure(&[database.find(name).unwrap()], resolution);
        ids.iter()
            .map(|&id| database.packages()[id].to_string())
            .collect()
    }

    #[test]
    fn names_provisions_and_bounds_are_followed() {
        let expected = [
            "app-1-r0.x86_64",
            "busybox-1.36.1-r28.x86_64",
            "busybox-binsh-1.36.1-r28.x86_64",
            "musl-1.2.5-r0.x86_64",
            "new-2.0_rc1-r0.noarch",
        ];
        assert_eq!(closure("app", Resolution::Correct), expected);
        // The first provider of `lib`, whatever its version; and `virtual>1`.
        let compatible = closure("app", Resolution::Compatible);
        assert!(compatible.contains(&"old-0.9-r0.x86_64".to_owned()));
        assert_eq!(closure("cmd:sh", Resolution::Correct).len(), 3);
    }

    #[test]
    fn files_are_below_their_directories() {
        let database = Apk::new(Path::new("/nowhere"), SYSTEM.as_bytes());
        let files = database.files(&[database.find("app").unwrap()]).unwrap();
        let paths: Vec<_> = files
            .iter()
            .map(|file| file.path.display().to_string())
            .collect();
        assert_eq!(
            paths,
            [
                "/etc",
                "/etc/edited",
                "/etc/gone",
                "/etc/kept",
                "/etc/link",
                "/etc/unsummed",
                "/usr/share/a b",
                "/usr/share/a b/c  d",
            ]
        );
    }

    #[test]
    fn the_checksum_tells_edited_from_pristine() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        files::create_dir_all(&etc).unwrap();
        files::write(etc.join("kept"), "kept\n").unwrap();
        files::write(etc.join("edited"), "other\n").unwrap();
        files::write(etc.join("unsummed"), "other\n").unwrap();
        std::os::unix::fs::symlink("../proc/mounts", etc.join("link")).unwrap();
        let database = Apk::new(dir.path(), SYSTEM.as_bytes());
        let id = database.find("app").unwrap();
        let found: Vec<_> = (database.config_files(&[id]).unwrap().into_iter())
            .map(|file| (file.path.display().to_string(), file.state))
            .collect();
        let expected = [
            ("/etc/edited", ConfigState::Edited),
            ("/etc/gone", ConfigState::Missing),
            ("/etc/kept", ConfigState::Pristine),
            // Nothing says what it was.
            ("/etc/unsummed", ConfigState::Edited),
        ];
        assert_eq!(
            found,
            expected.map(|(path, state)| (path.to_owned(), state))
        );
        let config = database.files(&[id]).unwrap();
        let config = config.iter().filter(|file| file.config).count();
        assert_eq!(config, 3);
    }
}
