//! Shared appliances: made by root when their package is installed, kept as the
//! installed packages are by the package manager's triggers, booted by everybody.
//!
//! ```text
//! /usr/share/freezedry/NAME/at-install.json     how it is made; comes with the package
//!                           supermin.d/         its skeleton
//! /var/lib/freezedry/NAME/lock                  root's alone: nobody can hold it up
//!                         appliance/            kernel, initrd, root and stamp.json
//! ```
//!
//! Who boots it takes no lock, so that no user can keep the package manager
//! waiting: the files are opened, and stay what they are for that process when
//! another appliance takes their place.

use super::cache::{self, Slot};
use super::readers::Readers;
use super::stamp::Stamp;
use super::{Appliance, Freshness, Options, Request, STAMP, ensure, freshness};
use crate::host::Host;
use crate::{Error, Result, files};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where packages bring skeletons to.
pub const SKELETONS: &str = "/usr/share/freezedry";
/// Where shared appliances lie.
pub const DIRECTORY: &str = "/var/lib/freezedry";
/// The file that says that an appliance is shared, and how it is made.
pub const SETTINGS: &str = "at-install.json";

/// What a package says of the making of its shared appliance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// As [`Request::modules`].
    pub modules: Vec<String>,
    /// As [`Request::all_modules`].
    pub all_modules: bool,
}

/// The names of the shared appliances whose packages are installed, sorted.
pub fn names() -> Vec<String> {
    let entries = std::fs::read_dir(SKELETONS).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join(SETTINGS).is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// How a shared appliance is made from `skeleton`.
pub fn request(skeleton: PathBuf, settings: Settings) -> Request {
    Request {
        options: Options {
            readers: Readers::Everybody,
            ..Options::default()
        },
        modules: settings.modules,
        all_modules: settings.all_modules,
        // The kernel is not what the environment of some administrator says.
        ..Request::new(vec![skeleton])
    }
}

/// Makes the shared appliance `name`, or makes it anew if something that goes
/// in has changed; `waiting` is called if another process is at it.
pub fn refresh(name: &str, host: &Host, waiting: &mut dyn FnMut(&Path)) -> Result<Freshness> {
    if !names().iter().any(|known| known == name) {
        return Err(Error::input(format!(
            "no installed package has a shared appliance `{name}`"
        ))
        .hint(format!(
            "those that do are listed by `ls {SKELETONS}/*/{SETTINGS}`"
        )));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::input("only root may refresh a shared appliance")
            .hint(format!("run `sudo freezedry refresh {name}`")));
    }
    let brought = Path::new(SKELETONS).join(name);
    let path = brought.join(SETTINGS);
    let settings = serde_json::from_slice(&files::read(&path)?)
        .map_err(|e| Error::io("cannot read", &path, std::io::Error::other(e)))?;
    let directory = Path::new(DIRECTORY).join(name);
    make_public(Path::new(DIRECTORY))?;
    make_public(&directory)?;
    let slot = Slot::in_directory(directory, waiting)?;
    let request = request(brought.join("supermin.d"), settings);
    let (_, freshness) = ensure(&slot, &request, host, waiting)?;
    Ok(freshness)
}

/// Makes `path` a directory of root's that everybody may enter.  A symbolic link
/// to one is as good: only root can have put it there.
fn make_public(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        // Whatever the umask.
        Ok(()) => std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))
            .map_err(|e| Error::io("cannot set the mode of", path, e))?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::io("cannot create the directory", path, e)),
    }
    let meta = files::stat(path)?;
    if !meta.is_dir() || meta.uid() != 0 || meta.mode() & 0o022 != 0 {
        return Err(Error::host(format!(
            "`{0}` is not a directory that only root may write to",
            path.display()
        ))
        .hint(format!(
            "make it one (chown root:root {0}; chmod 755 {0}) and run this again",
            path.display()
        )));
    }
    Ok(())
}

/// A shared appliance that is held open: its files stay what they are while
/// this lives, also when another takes its place.
#[derive(Debug)]
pub struct Shared {
    stamp: Stamp,
    files: [OwnedFd; 3],
}

impl Shared {
    /// Opens the shared appliance `name`; `None` if there is none.
    pub fn open(name: &str) -> Option<Self> {
        let directory = Path::new(DIRECTORY).join(name).join("appliance");
        // Another may take its place between two files; then once more.
        (0..3).find_map(|_| Self::open_at(&directory).ok())
    }

    fn open_at(directory: &Path) -> Result<Self> {
        let cannot = |e: rustix::io::Errno| Error::io("cannot open", directory, e);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let all = rustix::fs::open(directory, flags, Mode::empty()).map_err(cannot)?;
        let open = |name: &str| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&all, name, flags, Mode::empty()).map_err(cannot)
        };
        let stamp = File::from(open(STAMP)?);
        let stamp = serde_json::from_reader(stamp)
            .map_err(|e| Error::io("cannot read", directory, std::io::Error::other(e)))?;
        let files = [open("kernel")?, open("initrd")?, open("root")?];
        Ok(Self { stamp, files })
    }

    /// Its files, by names that are good for this process's children too.
    pub fn appliance(&self) -> Appliance {
        let process = std::process::id();
        let [kernel, initrd, root] = self
            .files
            .each_ref()
            .map(|file| PathBuf::from(format!("/proc/{process}/fd/{}", file.as_raw_fd())));
        Appliance {
            kernel,
            initrd,
            root,
        }
    }

    /// Whether it is whole, and what `request` and `host` want now.  What was
    /// found out is remembered in the user's own `cache`, if that can be written.
    pub fn is_current(&self, request: &Request, host: &Host, cache: &Path, name: &str) -> bool {
        let note = cache::note(cache, name).ok();
        // What fails here fails again, and is told, when the user's own is made.
        let current = freshness::is_current(&self.stamp, request, host, note.as_deref());
        self.appliance().is_whole() && current.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_appliance_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("appliance"), dir.path().join("new"));
        for (directory, text) in [(&old, "old"), (&new, "new")] {
            files::create_dir_all(directory).unwrap();
            for file in ["kernel", "initrd", "root"] {
                files::write(directory.join(file), text).unwrap();
            }
            let stamp = Stamp {
                inputs: text.into(),
                plan: text.into(),
            };
            stamp.write(&directory.join(STAMP)).unwrap();
        }
        let shared = Shared::open_at(&old).unwrap();
        cache::replace_directory(&new, &old).unwrap();
        let read = |shared: &Shared| files::read(shared.appliance().root).unwrap();
        assert_eq!(read(&shared), b"old");
        assert_eq!(shared.stamp.plan, "old");
        assert_eq!(read(&Shared::open_at(&old).unwrap()), b"new");
    }

    #[test]
    fn a_half_made_appliance_is_none() {
        let dir = tempfile::tempdir().unwrap();
        files::write(dir.path().join("kernel"), "kernel").unwrap();
        assert!(Shared::open_at(dir.path()).is_err());
        assert!(Shared::open_at(&dir.path().join("no such directory")).is_err());
    }
}
