//! What outlives a guest: directories of the appliance that are kept per user.
//!
//! The root file system is made anew from the host's packages, so that it cannot
//! be what is kept.  Each kept directory is a file system of its own instead,
//! which at first holds what the appliance has there, and is mounted over it at
//! every boot, whatever the appliance has become.
//!
//! ```text
//! DATA/NAME/lock                      held by the guest that uses what follows
//!           var-lib-postgresql.img    an image; the directory is /files in it
//! ```

use super::disk::with_path;
use crate::appliance::image::{ext2, sink};
use crate::appliance::plan::{Entry, Node, Origin, Plan};
use crate::{Error, Result, command, files};
use rustix::fs::FlockOperation;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The size of each image, in bytes; sparse.
const SIZE: u64 = 16 << 30;
/// The size of its journal, in MiB.
const JOURNAL: u32 = 16;

/// How the names of images end, and of those that are being made.
const IMAGE: &str = "img";
const UNFINISHED: &str = "new";

/// A directory that outlives the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it is in the guest.
    pub path: String,
    /// The image that holds it.
    pub image: PathBuf,
}

/// The kept directories of one appliance.  As long as this lives nobody else
/// uses them.
#[derive(Debug)]
pub struct Storage {
    directory: PathBuf,
    _lock: File,
}

/// Where the data of this user lie: `$XDG_DATA_HOME/freezedry`, else
/// `$HOME/.local/share/freezedry`.
pub fn directory() -> Result<PathBuf> {
    let absolute = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from)?;
        path.is_absolute().then_some(path)
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/share")))
        .map(|path| path.join("freezedry"))
        .ok_or_else(|| {
            Error::host("there is no place for persistent data")
                .hint("set HOME or XDG_DATA_HOME to an absolute path")
        })
}

impl Storage {
    /// Opens the data of the appliance `name` below `data`, for this process alone.
    pub fn open(data: &Path, name: &str) -> Result<Self> {
        let directory = data.join(name);
        files::create_private_dir_all(&directory)?;
        let path = directory.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io("cannot open the lock", &path, e))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                directory,
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::host(format!(
                "another guest uses the persistent data of `{name}`"
            ))
            .hint("end it first; `freezedry boot --list` shows those in the background")),
            Err(e) => Err(Error::io("cannot lock", &path, e)),
        }
    }

    /// Removes all data; the names of the images that were there.  Whatever else
    /// lies there is somebody's own.
    pub fn reset(&self) -> Result<Vec<PathBuf>> {
        let cannot = |e| Error::io("cannot empty", &self.directory, e);
        let mut removed = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            let kind = path.extension().unwrap_or_default();
            let made_here = kind == IMAGE || kind == UNFINISHED;
            if !made_here || !files::lstat(&path)?.is_file() {
                continue;
            }
            std::fs::remove_file(&path).map_err(|e| Error::io("cannot remove", &path, e))?;
            removed.push(path);
        }
        removed.sort();
        Ok(removed)
    }

    /// The image of each of `paths`.  Those that are not there are made, with what
    /// the appliance's `plan` has; `told` gets what the user should know.
    pub fn keep(
        &self,
        paths: &[String],
        plan: impl FnOnce() -> Result<Plan>,
        told: &mut dyn FnMut(&str),
    ) -> Result<Vec<Kept>> {
        let image = |path: &str| self.directory.join(file_name(path));
        let missing: Vec<&String> = paths.iter().filter(|path| !image(path).exists()).collect();
        if !missing.is_empty() {
            let plan = plan()?;
            for path in missing {
                make(&part(&plan, path)?, &image(path), told)?;
            }
        }
        let kept = |path: &String| Kept {
            path: path.clone(),
            image: image(path),
        };
        Ok(paths.iter().map(kept).collect())
    }
}

impl Kept {
    /// qemu's arguments for it.  What the guest has synchronised survives qemu.
    pub(super) fn arguments(&self, index: usize) -> Vec<OsString> {
        let id = format!("kept{index}");
        let drive = format!("if=none,id={id},format=raw,discard=unmap,file=");
        vec![
            "-drive".into(),
            with_path(&drive, &self.image),
            "-device".into(),
            format!("virtio-blk-pci,drive={id},serial={id}").into(),
        ]
    }

    /// A word for the kernel's command line.
    pub(super) fn parameter(&self, index: usize) -> String {
        format!("freezedry.keep=kept{index}:{}", self.path)
    }
}

/// The name of the image for a directory: no two have the same.
fn file_name(path: &str) -> String {
    let name = path.trim_start_matches('/');
    let name = name
        .replace('%', "%25")
        .replace('-', "%2D")
        .replace('/', "-");
    format!("{name}.{IMAGE}")
}

/// The part of `plan` below `path`, as `/files` of a plan of its own.
fn part(plan: &Plan, path: &str) -> Result<Plan> {
    let moved = |path: &Path, from: &Path| {
        let below = path.strip_prefix(from).ok()?;
        let moved: PathBuf = Path::new("/files").join(below).components().collect();
        Some(moved)
    };
    let path = Path::new(path);
    let directory = |path: &str| Entry {
        path: path.into(),
        node: Node::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
        xattrs: Vec::new(),
        origin: Origin::Generated,
    };
    let mut part = Plan {
        entries: vec![directory("/")],
    };
    for entry in &plan.entries {
        if path.starts_with(&entry.path) && entry.node != Node::Directory {
            return Err(Error::input(format!(
                "`{}` cannot be kept: `{}` is no directory in the appliance",
                path.display(),
                entry.path.display()
            ))
            .hint("name the directory that it stands for"));
        }
        let Some(new) = moved(&entry.path, path) else {
            continue;
        };
        let mut entry = entry.clone();
        if let Node::HardLink(target) = &entry.node {
            // The other name may lie outside; then this one becomes the file.
            entry.node = match moved(target, path) {
                Some(target) => Node::HardLink(target),
                None => match plan.entries.iter().find(|other| other.path == *target) {
                    Some(other) => other.node.clone(),
                    None => continue,
                },
            };
        }
        entry.path = new;
        part.entries.push(entry);
    }
    if part.entries.len() == 1 {
        part.entries.push(directory("/files"));
    }
    Ok(part)
}

/// Writes the file system for `plan` to `image`, which appears whole or not at
/// all, even if the host crashes.
fn make(plan: &Plan, image: &Path, told: &mut dyn FnMut(&str)) -> Result<()> {
    let mut uuid = [0; 16];
    files::open("/dev/urandom")?
        .read_exact(&mut uuid)
        .map_err(|e| Error::io("cannot read", "/dev/urandom", e))?;
    // Version 4, variant 1 (RFC 9562): random.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let options = ext2::Options {
        uuid,
        size: Some(SIZE),
        timestamp: 0,
    };
    let new = image.with_extension(UNFINISHED);
    sink::write(&ext2::layout(plan, &options)?, &new)?;
    // With a journal, a guest that is killed leaves a file system that works.
    let mut journal = Command::new("tune2fs");
    let path = std::env::var("PATH").unwrap_or_default();
    journal.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    journal.arg("-j").arg(format!("-Jsize={JOURNAL}")).arg(&new);
    if let Err(error) = command::output(&mut journal) {
        told(&format!(
            "the persistent data `{}` have no journal, and may suffer when the guest is killed: \
             {error}; install e2fsprogs, and reset them",
            image.display()
        ));
    }
    files::sync(&new)?;
    files::rename(&new, image)?;
    for directory in image.ancestors().skip(1).take(2) {
        files::sync(directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::plan::Content;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_two_directories_share_an_image(a in "(/[a%-]{1,3}){1,3}", b in "(/[a%-]{1,3}){1,3}") {
            prop_assert_eq!(a == b, file_name(&a) == file_name(&b));
            prop_assert!(!file_name(&a).contains('/'));
        }
    }

    fn entry(path: &str, node: Node) -> Entry {
        Entry {
            path: path.into(),
            node,
            mode: 0o750,
            uid: 7,
            gid: 8,
            mtime: 9,
            xattrs: Vec::new(),
            origin: Origin::Generated,
        }
    }

    fn file(text: &str) -> Node {
        Node::File(Content::Bytes(text.as_bytes().into()))
    }

    fn plan() -> Plan {
        Plan {
            entries: vec![
                entry("/", Node::Directory),
                entry("/etc", file("no directory")),
                entry("/srv", Node::Directory),
                entry("/srv/a", file("a")),
                entry("/srv/b", Node::HardLink("/srv/a".into())),
                entry("/srv/c", Node::HardLink("/etc".into())),
                entry("/srvother", Node::Directory),
            ],
        }
    }

    #[test]
    fn a_part_of_a_plan_is_a_plan() {
        let part = part(&plan(), "/srv").unwrap();
        let paths: Vec<_> = part
            .entries
            .iter()
            .map(|e| e.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, ["/", "/files", "/files/a", "/files/b", "/files/c"]);
        assert_eq!((part.entries[1].mode, part.entries[1].uid), (0o750, 7));
        assert_eq!(part.entries[3].node, Node::HardLink("/files/a".into()));
        assert_eq!(part.entries[4].node, file("no directory"));
        let empty = super::part(&plan(), "/var/lib/x").unwrap();
        assert_eq!(empty.entries.len(), 2);
        let error = super::part(&plan(), "/etc/x").unwrap_err().to_string();
        assert_eq!(
            error,
            "`/etc/x` cannot be kept: `/etc` is no directory in the appliance"
        );
    }

    /// e2fsck is the judge.
    #[test]
    fn an_image_is_made_once_locked_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), "db").unwrap();
        let again = Storage::open(dir.path(), "db").unwrap_err().to_string();
        assert_eq!(again, "another guest uses the persistent data of `db`");
        let mut told = Vec::new();
        let mut tell = |text: &str| told.push(text.to_owned());
        let paths = ["/srv".to_owned()];
        let kept = storage.keep(&paths, || Ok(plan()), &mut tell).unwrap();
        let image = dir.path().join("db/srv.img");
        assert_eq!(kept[0].image, image);
        if told.is_empty() {
            let mut fsck = Command::new("e2fsck");
            fsck.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
            command::output(fsck.arg("-fn").arg(&image)).unwrap();
        }
        let no_plan = || Err(Error::input("it is not needed again"));
        assert_eq!(storage.keep(&paths, no_plan, &mut |_| ()).unwrap(), kept);
        assert_eq!(storage.reset().unwrap(), [image]);
        assert_eq!(storage.reset().unwrap(), [""; 0].map(PathBuf::from));
    }
}
