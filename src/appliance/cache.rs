//! The per-user cache of appliances: one directory each, guarded by a lock,
//! replaced as a whole.
//!
//! ```text
//! CACHE/v1/NAME/lock         who holds it may look at or replace what follows
//!               appliance/   kernel, initrd, root and stamp.json, all or nothing
//! ```

use super::stamp::Stamp;
use super::{Appliance, STAMP};
use crate::{Error, Result, files};
use rustix::fs::{FlockOperation, RenameFlags};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Changes with the layout of the cache, so that no version reads another's.
const BUCKET: &str = "v1";

/// The environment variable that moves the cache.
pub const CACHE_DIR: &str = "FREEZEDRY_CACHE_DIR";

/// The directory that holds all appliances of this user.
///
/// `$FREEZEDRY_CACHE_DIR`, else `$XDG_CACHE_HOME/freezedry`, else
/// `$HOME/.cache/freezedry`, else `/var/tmp/.freezedry-UID`.
pub fn directory() -> PathBuf {
    let absolute = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from)?;
        path.is_absolute().then_some(path)
    };
    absolute(CACHE_DIR)
        .or_else(|| Some(absolute("XDG_CACHE_HOME")?.join("freezedry")))
        .or_else(|| Some(absolute("HOME")?.join(".cache/freezedry")))
        .unwrap_or_else(|| {
            let user = rustix::process::geteuid().as_raw();
            PathBuf::from(format!("/var/tmp/.freezedry-{user}"))
        })
}

/// The place of one appliance in the cache.
///
/// The lock is held as long as this lives; the kernel takes it back when the
/// process dies, however it dies.
#[derive(Debug)]
pub struct Slot {
    directory: PathBuf,
    lock: File,
}

impl Slot {
    /// Opens the place for `name` below `cache`, shared with others that only
    /// look; `waiting` is called first if somebody makes the appliance just now.
    pub fn open(cache: &Path, name: &str, waiting: &mut dyn FnMut(&Path)) -> Result<Self> {
        let directory = private_directory(cache, &Path::new(BUCKET).join(name))?;
        Self::in_directory(directory, waiting)
    }

    /// The same in `directory`, which is there and this user's own.
    pub(super) fn in_directory(directory: PathBuf, waiting: &mut dyn FnMut(&Path)) -> Result<Self> {
        let path = directory.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            // Who can open a file can also hold its lock for ever.
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("cannot open the lock", &path, e))?;
        let slot = Self { directory, lock };
        slot.lock(
            FlockOperation::NonBlockingLockShared,
            FlockOperation::LockShared,
            waiting,
        )?;
        Ok(slot)
    }

    /// Keeps everybody else out, to make the appliance.  In between somebody
    /// else may have made it.
    pub fn exclude(&self, waiting: &mut dyn FnMut(&Path)) -> Result<()> {
        self.lock(
            FlockOperation::NonBlockingLockExclusive,
            FlockOperation::LockExclusive,
            waiting,
        )
    }

    /// Lets others look again.
    pub fn share(&self) -> Result<()> {
        let shared = FlockOperation::LockShared;
        self.lock(shared, shared, &mut |_| ())
    }

    fn lock(
        &self,
        at_once: FlockOperation,
        patiently: FlockOperation,
        waiting: &mut dyn FnMut(&Path),
    ) -> Result<()> {
        let path = self.directory.join("lock");
        let cannot = |e: rustix::io::Errno| Error::io("cannot lock", &path, e);
        match rustix::fs::flock(&self.lock, at_once) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                waiting(&path);
                rustix::fs::flock(&self.lock, patiently).map_err(cannot)
            }
            result => result.map_err(cannot),
        }
    }

    /// Where the appliance lies, or would lie.
    pub fn path(&self) -> PathBuf {
        self.directory.join("appliance")
    }

    /// The appliance, if it is whole, and what it was made from.
    pub fn load(&self) -> Option<(Appliance, Stamp)> {
        let appliance = Appliance::at(&self.path());
        let stamp = Stamp::read(&self.path().join(STAMP)).ok()?;
        appliance.is_whole().then_some((appliance, stamp))
    }

    /// An empty directory beside the appliance, to make a new one in.  What
    /// earlier processes left there when they were killed is removed.
    pub fn scratch(&self) -> Result<PathBuf> {
        let cannot = |e| Error::io("cannot list", &self.directory, e);
        for entry in std::fs::read_dir(&self.directory).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            if entry.file_name().as_encoded_bytes().starts_with(b"new.") {
                remove_tree(&entry.path())?;
            }
        }
        let scratch = self.directory.join(format!("new.{}", std::process::id()));
        make_private(&scratch)?;
        Ok(scratch)
    }

    /// Puts the finished `scratch` in the appliance's place, at once.
    pub fn publish(&self, scratch: &Path) -> Result<Appliance> {
        replace_directory(scratch, &self.path())?;
        Ok(Appliance::at(&self.path()))
    }

    /// Removes the appliance.
    pub fn clear(&self, waiting: &mut dyn FnMut(&Path)) -> Result<()> {
        self.exclude(waiting)?;
        if self.path().exists() {
            remove_tree(&self.path())?;
        }
        Ok(())
    }
}

/// A file in which this user remembers something of the shared appliance `name`.
pub(super) fn note(cache: &Path, name: &str) -> Result<PathBuf> {
    let directory = cache.join(BUCKET).join(name);
    make_private(&directory)?;
    Ok(directory.join("shared.json"))
}

/// The names of the appliances in `cache`, sorted.
pub fn names(cache: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(cache.join(BUCKET));
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A directory in which something is made beside the place where it is to
/// appear, removed with its handle.
///
/// It is locked while it is in use.  What a process that was killed left behind
/// is not, and the next one removes it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// A new one, on the file system of `out`.
    pub fn beside(out: &Path) -> Result<Self> {
        let parent = match out.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let name = out.file_name().unwrap_or(out.as_os_str());
        let prefix = format!(".{}.freezedry.", name.to_string_lossy());
        Self::sweep(parent, &prefix)?;
        let cannot = |e| Error::io("cannot create a directory in", parent, e);
        loop {
            let directory = tempfile::Builder::new()
                .prefix(&prefix)
                // What is made in it may hold what only root may read, until
                // it has its modes.
                .permissions(PermissionsExt::from_mode(0o700))
                .tempdir_in(parent)
                .map_err(cannot)?;
            let lock = files::open(directory.path())?;
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)
                .map_err(|e| Error::io("cannot lock", directory.path(), e))?;
            // Before it was locked another process may have swept it away.
            let same =
                |meta: std::fs::Metadata| lock.metadata().is_ok_and(|l| l.ino() == meta.ino());
            if directory.path().symlink_metadata().is_ok_and(same) {
                let path = directory.keep();
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, with the mode that it is to have in its place.
    pub fn directory(&self) -> Result<PathBuf> {
        let path = self.path.join("new");
        let made = DirBuilder::new().mode(0o755).create(&path);
        made.map_err(|e| Error::io("cannot create the directory", &path, e))?;
        Ok(path)
    }

    /// Removes what nobody uses any more.
    fn sweep(parent: &Path, prefix: &str) -> Result<()> {
        let cannot = |e| Error::io("cannot list", parent, e);
        for entry in std::fs::read_dir(parent).map_err(cannot)?.flatten() {
            if !entry.file_name().to_string_lossy().starts_with(prefix) {
                continue;
            }
            // Somebody else may be faster, or it may be somebody else's.
            let Ok(lock) = files::open(entry.path()) else {
                continue;
            };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = remove_tree(&entry.path());
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What was made has been moved away, or is of no use.
        let _ = remove_tree(&self.path);
    }
}

/// Takes the lock that supermin's `--lock` takes on `path`, and holds it until
/// this process ends; `waiting` is called first if another process has it.
///
/// It is a POSIX record lock (`fcntl`) over the whole file: flock(2) would not
/// keep supermin itself out.
pub fn lock_as_supermin(path: &Path, waiting: &mut dyn FnMut()) -> Result<File> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| Error::io("cannot open the lock", path, e))?;
    let cannot = |e: rustix::io::Errno| Error::io("cannot lock", path, e);
    match rustix::fs::fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => {
            waiting();
            rustix::fs::fcntl_lock(&lock, FlockOperation::LockExclusive).map_err(cannot)?;
        }
        result => result.map_err(cannot)?,
    }
    Ok(lock)
}

/// Puts the directory `new` where `old` is (or would be), in one step where the
/// file system can exchange names, and removes the old one.
pub fn replace_directory(new: &Path, old: &Path) -> Result<()> {
    let cannot =
        |e: rustix::io::Errno| Error::io(&format!("cannot move `{}` to", new.display()), old, e);
    if old.symlink_metadata().is_err() {
        return files::rename(new, old);
    }
    let cwd = rustix::fs::CWD;
    match rustix::fs::renameat_with(cwd, new, cwd, old, RenameFlags::EXCHANGE) {
        Ok(()) => {
            // What is left of the old one is swept away later.
            let _ = remove_tree(new);
            Ok(())
        }
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // No exchange here: there is a short moment without `old`.
            let mut aside = new.as_os_str().to_owned();
            aside.push(".old");
            let aside = PathBuf::from(aside);
            rustix::fs::rename(old, &aside).map_err(cannot)?;
            if let Err(e) = rustix::fs::rename(new, old) {
                let _ = rustix::fs::rename(&aside, old); // the first error is the one to tell
                return Err(cannot(e));
            }
            let _ = remove_tree(&aside);
            Ok(())
        }
        // A directory of a lower layer of overlayfs cannot be renamed.
        Err(rustix::io::Errno::XDEV) => {
            remove_tree(old)?;
            files::rename(new, old)
        }
        Err(e) => Err(cannot(e)),
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    let result = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path).or_else(|_| {
            // A tree may have directories that not even their owner may write to.
            open_up(path);
            std::fs::remove_dir_all(path)
        }),
        _ => std::fs::remove_file(path),
    };
    result.map_err(|e| Error::io("cannot remove", path, e))
}

/// Lets this user remove what lies in `directory`, as far as it is his.
fn open_up(directory: &Path) {
    let _ = std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700));
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// The directory `name` below `cache`, which is this user's own from now on, if it
/// was not made by anybody else.
pub fn private_directory(cache: &Path, name: &Path) -> Result<PathBuf> {
    if cache.starts_with("/var/tmp") {
        // Anybody may make that first.
        make_private(cache)?;
    }
    let directory = cache.join(name);
    make_private(&directory)?;
    Ok(directory)
}

/// Makes `path` a directory that is this user's and that nobody else may enter:
/// an appliance of root holds what only root may read.
fn make_private(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| {
            Error::io("cannot create the cache directory", path, e).hint(format!(
                "set {CACHE_DIR} to a directory that you may write to"
            ))
        })?;
    let meta = files::lstat(path)?;
    let user = rustix::process::geteuid().as_raw();
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o022 != 0 {
        return Err(Error::host(format!(
            "the cache directory `{}` is not yours alone",
            path.display()
        ))
        .hint(format!(
            "remove it, or set {CACHE_DIR} to a directory that only you may write to"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_replaced_and_the_old_one_vanishes() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        for round in ["1", "2"] {
            files::create_dir_all(&new).unwrap();
            files::write(new.join("file"), round).unwrap();
            replace_directory(&new, &old).unwrap();
            assert_eq!(files::read(old.join("file")).unwrap(), round.as_bytes());
            assert!(!new.exists());
        }
    }

    #[test]
    fn a_half_made_appliance_is_never_taken() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot::open(dir.path(), "x", &mut |_| panic!("nobody holds it")).unwrap();
        let scratch = slot.scratch().unwrap();
        files::write(scratch.join("root"), "half").unwrap();
        assert!(slot.load().is_none());
        // The process dies here; the next one starts afresh.
        drop(slot);
        let slot = Slot::open(dir.path(), "x", &mut |_| panic!("the lock is free")).unwrap();
        let scratch = slot.scratch().unwrap();
        assert!(!scratch.join("root").exists());
        slot.publish(&scratch).unwrap();
        assert!(slot.load().is_none(), "it has no stamp");
    }

    #[test]
    fn many_may_look_but_only_one_may_make() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot::open(dir.path(), "x", &mut |_| panic!("nobody holds it")).unwrap();
        let other = Slot::open(dir.path(), "x", &mut |_| panic!("it is shared")).unwrap();
        drop(other);
        slot.exclude(&mut |_| panic!("nobody else holds it"))
            .unwrap();
        let path = dir.path().to_owned();
        let (told, waits) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            Slot::open(&path, "x", &mut |lock| told.send(lock.to_owned()).unwrap()).unwrap();
        });
        assert!(waits.recv().unwrap().ends_with("v1/x/lock"));
        slot.share().unwrap();
        other.join().unwrap();
    }

    #[test]
    fn a_cache_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v1/x");
        files::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        let error = Slot::open(dir.path(), "x", &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("is not yours alone"), "{error}");
    }
}
