//! What `supermin --names` of supermin 4 makes of packages: a list of host
//! files, and a base image of what must not come from the host as it is.

use crate::appliance::host_entries;
use crate::appliance::image::cpio;
use crate::appliance::plan;
use crate::appliance::plan::Origin;
use crate::appliance::walk::Walk;
use crate::host::{ConfigState, Host, PackageId, Resolution};
use crate::node::Node;
use crate::{Error, Result};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Tells whether a package, by its name, is to be left out.
pub type Excluded<'a> = &'a dyn Fn(&str) -> bool;

/// Which packages, and how.
#[derive(Default)]
pub struct Names<'a> {
    /// The names that are asked for.
    pub names: Vec<String>,
    /// Whether to leave out what they depend on.
    pub alone: bool,
    /// Whether to take configuration files that somebody edited on this host.
    pub use_installed: bool,
    /// Tells which packages to leave out, dependencies or not.
    pub excluded: Option<Excluded<'a>>,
}

impl std::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names")
            .field("names", &self.names)
            .field("alone", &self.alone)
            .field("use_installed", &self.use_installed)
            .finish_non_exhaustive()
    }
}

/// A skeleton of supermin 4 that is not written yet.
#[derive(Debug, Default)]
pub struct HostFiles {
    /// The list: one path or wildcard a line.
    pub host_files: Vec<u8>,
    /// The base image, an uncompressed newc archive.
    pub base_image: Vec<u8>,
    /// Packages that are in, as the package manager shows them.
    pub packages: Vec<String>,
    /// What was left out: sentences without their full stop.
    pub warnings: Vec<String>,
}

/// Device nodes that a system needs before it makes its own.
const DEVICES: [(&str, u32, u32, u16); 6] = [
    ("/dev/console", 5, 1, 0o600),
    ("/dev/null", 1, 3, 0o666),
    ("/dev/zero", 1, 5, 0o666),
    ("/dev/random", 1, 8, 0o666),
    ("/dev/urandom", 1, 9, 0o666),
    ("/dev/tty", 5, 0, 0o666),
];

/// Makes the list and the base image of packages that `host`, the running
/// system, has installed.
///
/// Paths are spelled as they really lie: a directory that is a symlink on the
/// host, as `/lib` with a merged /usr, goes into the base image as one, and
/// what lies below it is listed where it leads.
pub fn host_files(names: &Names<'_>, host: &Host) -> Result<HostFiles> {
    let mut made = HostFiles::default();
    let database = host.packages()?;
    let closure = packages(names, host, &mut made)?;
    let all = database.packages();
    made.packages = closure.iter().map(|&id| all[id].to_string()).collect();

    let states: HashMap<PathBuf, ConfigState> = database
        .config_files(&closure)?
        .into_iter()
        .map(|file| (file.path, file.state))
        .collect();
    let mut base = Base::default();
    let mut listed: BTreeSet<PathBuf> = BTreeSet::new();
    for file in database.files(&closure)? {
        let source = file.source.as_path();
        if is_left_out(&file.path) {
            continue;
        }
        let Ok(meta) = source.symlink_metadata() else {
            continue; // removed from the host, or never there
        };
        let shown = file.path.display();
        let Some(path) = base.place(source)? else {
            continue;
        };
        if meta.is_dir() {
            base.add(&path)?;
        } else if file.config && file.path != Path::new("/etc/localtime") {
            match states.get(&file.path) {
                Some(ConfigState::Edited) if !names.use_installed => made.warnings.push(format!(
                    "`{shown}` was edited on this host, so it is left out"
                )),
                Some(ConfigState::Unreadable) => made
                    .warnings
                    .push(format!("you may not read `{shown}`, so it is left out")),
                Some(ConfigState::Missing) => {}
                _ => base.add(&path)?,
            }
        } else if meta.is_file() && meta.mode() & 0o004 == 0 {
            made.warnings.push(format!(
                "not everybody may read `{shown}`, so it is left out"
            ));
        } else if path.as_os_str().as_bytes().contains(&b'\n') {
            made.warnings.push(format!(
                "`{}` has a line end in its name, so it is left out",
                shown.to_string().escape_debug()
            ));
        } else {
            listed.insert(path);
        }
    }
    if closure.iter().any(|&id| all[id].name == "filesystem") {
        base.devices();
    }
    // A directory of a package that is a symlink here is in the base image.
    listed.retain(|path| !base.has(path));
    let lines: BTreeSet<Vec<u8>> = listed.iter().map(|path| generalised(path)).collect();
    for line in lines {
        made.host_files.extend(line);
        made.host_files.push(b'\n');
    }
    let entries: Vec<&plan::Entry> = base.entries.values().collect();
    let mut archive = cpio::Archive::new(Vec::new(), "base.img");
    archive.add_entries(&entries)?;
    made.base_image = archive.finish()?;
    Ok(made)
}

fn packages(names: &Names<'_>, host: &Host, made: &mut HostFiles) -> Result<Vec<PackageId>> {
    let database = host.packages()?;
    let mut roots = Vec::new();
    for name in &names.names {
        match database.find(name) {
            Some(id) => roots.push(id),
            None => made.warnings.push(format!("`{name}` is not installed")),
        }
    }
    if roots.is_empty() {
        return Err(Error::host("none of the packages is installed")
            .hint("install them: an appliance is made of installed packages"));
    }
    let mut closure = if names.alone {
        roots
    } else {
        database.closure(&roots, Resolution::Correct)
    };
    if let Some(excluded) = names.excluded {
        closure.retain(|&id| !excluded(&database.packages()[id].name));
    }
    Ok(closure)
}

/// Kernels and their modules are those of the host that builds, and checksums
/// of libraries only hold for the very file.
fn is_left_out(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let below = |directory: &str| path.starts_with(directory) && path != Path::new(directory);
    below("/boot")
        || below("/lib/modules")
        || below("/usr/lib/modules")
        || name.starts_with(b".") && name.ends_with(b".hmac")
}

/// `path` as a line of a list, with versions of libraries as wildcards: the
/// host that builds may have another one.
fn generalised(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap_or_default();
    let wild = name.to_str().and_then(wildcard);
    let directory = path.parent().unwrap_or(path);
    let name = wild.as_deref().map_or(name, OsStr::new);
    directory.join(name).into_os_string().into_encoded_bytes()
}

/// The wildcard for the file name of a versioned library.
fn wildcard(name: &str) -> Option<String> {
    let is_version = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    if name.starts_with("libgcc_s-") && name.ends_with(".so.1") {
        return Some("libgcc_s-*.so.1".into());
    }
    if name
        .strip_suffix(".so")
        .is_some_and(|stem| stem.starts_with("libbfd-"))
    {
        return Some("libbfd-*.so".into());
    }
    if name.strip_prefix("libntfs-3g.so.").is_some_and(is_version) {
        return Some("libntfs-3g.so.*".into());
    }
    if name.starts_with("lib")
        && let Some((stem, version)) = name.split_once(".so.")
        && let Some((major, _)) = version.split_once('.')
        && is_version(version)
    {
        return Some(format!("{stem}.so.{major}.*"));
    }
    let (stem, version) = name.strip_suffix(".so")?.rsplit_once('-')?;
    let library = stem == "ld" || stem.starts_with("lib");
    (library && is_version(version)).then(|| format!("{stem}-*.so"))
}

/// The base image in the making: by path, so that parents come first.
#[derive(Default)]
struct Base {
    entries: BTreeMap<Vec<u8>, plan::Entry>,
}

impl Base {
    /// Where `path` really lies; everything above it is put in, and symlinks
    /// that lead there.  `None` where they lead nowhere.
    fn place(&mut self, path: &Path) -> Result<Option<PathBuf>> {
        let mut walk = Walk::along(path);
        while let Some(next) = walk.step() {
            if walk.is_last() {
                return Ok(Some(next)); // whoever asks decides
            }
            let Ok(meta) = next.symlink_metadata() else {
                return Ok(None);
            };
            self.add(&next)?;
            if meta.is_symlink() {
                let target = next
                    .read_link()
                    .map_err(|e| Error::io("cannot read the link", &next, e))?;
                if !walk.follow(&target) {
                    return Ok(None);
                }
            } else {
                walk.done = next;
            }
        }
        Ok(Some(walk.done))
    }

    /// Puts in what the host has at `path`.
    fn add(&mut self, path: &Path) -> Result<()> {
        let key = path.as_os_str().as_bytes().to_vec();
        if let Entry::Vacant(place) = self.entries.entry(key) {
            let gone = || Error::host(format!("`{}` went away just now", path.display()));
            let entry = host_entries::host_entry(Path::new("/"), path, Origin::Generated);
            place.insert(entry.ok_or_else(gone)?);
        }
        Ok(())
    }

    fn has(&self, path: &Path) -> bool {
        self.entries.contains_key(path.as_os_str().as_bytes())
    }

    fn devices(&mut self) {
        let root = |path: &str, node: Node, mode: u16| plan::Entry {
            path: path.into(),
            node,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: Vec::new(),
            origin: Origin::Generated,
        };
        let directories = ["/proc", "/sys", "/dev"].map(|path| root(path, Node::Directory, 0o755));
        let nodes = DEVICES
            .map(|(path, major, minor, mode)| root(path, Node::CharDevice(major, minor), mode));
        for entry in directories.into_iter().chain(nodes) {
            let key = entry.path.as_os_str().as_bytes().to_vec();
            self.entries.entry(key).or_insert(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_libraries_become_wildcards() {
        for (name, expected) in [
            ("libfoo.so.1.2.3", "libfoo.so.1.*"),
            ("libfoo.so.1", "libfoo.so.1"),
            ("libfoo.so", "libfoo.so"),
            ("libstdc++.so.6.0.30", "libstdc++.so.6.*"),
            ("libfoo.so.1.2.debug", "libfoo.so.1.2.debug"),
            ("ld-2.17.so", "ld-*.so"),
            ("libc-2.17.so", "libc-*.so"),
            ("libfoo-1.2.so", "libfoo-*.so"),
            ("libgcc_s-4.8.1-20130603.so.1", "libgcc_s-*.so.1"),
            ("libbfd-2.40-system.so", "libbfd-*.so"),
            ("libntfs-3g.so.89", "libntfs-3g.so.*"),
            ("foo-1.2.so", "foo-1.2.so"),
            ("ls", "ls"),
        ] {
            let line = generalised(&Path::new("/lib").join(name));
            assert_eq!(String::from_utf8(line).unwrap(), format!("/lib/{expected}"));
        }
    }

    #[test]
    fn kernels_and_checksums_stay_out() {
        for path in [
            "/boot/vmlinuz-1",
            "/lib/modules/1/x.ko",
            "/lib64/.libgcrypt.so.11.hmac",
        ] {
            assert!(is_left_out(Path::new(path)), "{path}");
        }
        for path in ["/boot", "/lib/modules", "/bootx/y", "/etc/.hidden"] {
            assert!(!is_left_out(Path::new(path)), "{path}");
        }
    }
}
