//! The guests of this user that run in the background.
//!
//! ```text
//! CACHE/run/NAME.lock       held by the process that runs the guest, as long as it lives
//!           NAME.json       what it is; see [`Entry`]
//!           NAME.log        its console, and NAME.log.old what it said before
//!           NAME.qmp        qemu's monitor, where the path is short enough for a socket
//!           NAME.known      the host key of its sshd
//! ```
//!
//! A guest runs if the process that its entry names has the lock open: the id of a
//! process that has ended may be another's by now.  Nobody takes a lock to ask.

use crate::appliance::cache;
use crate::{Error, Result, files};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A guest in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name; no two that run have the same.
    pub name: String,
    /// The process that runs it; qemu is its child.
    pub pid: u32,
    /// When it was started, in seconds since 1970.
    pub since: u64,
    /// Ports of this host, and the ports of the guest they lead to.
    pub ports: Vec<(u16, u16)>,
    /// The port of this host that leads to its sshd, if that was asked for.
    pub ssh: Option<u16>,
    /// Whether the appliance's `/init` has begun.
    pub up: bool,
    /// Whether it ends with the process that has started it, and with it all
    /// that is known of it.
    pub passing: bool,
}

/// Where guests are entered.
#[derive(Debug, Clone)]
pub struct Registry(PathBuf);

/// The right to be the guest of a name; ends with the process.
#[derive(Debug)]
pub struct Claim {
    registry: Registry,
    name: String,
    _lock: File,
}

/// The longest path that a Unix socket can have, see unix(7).
const LONGEST_SOCKET: usize = 107;
/// Whoever removes what a killed guest has left holds its lock for a moment.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

impl Registry {
    /// The registry of this user, in the `cache`: the same whoever asks, with or
    /// without a session.
    pub fn of_user(cache: &Path) -> Result<Self> {
        cache::private_directory(cache, Path::new("run")).map(Self)
    }

    /// The file of the guest `name` that ends in `kind`: `log`, `log.old`, `known`.
    pub fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.0.join(format!("{name}.{kind}"))
    }

    /// Where the monitor of the guest `name` can listen, if anywhere.
    pub fn monitor(&self, name: &str) -> Option<PathBuf> {
        let socket = self.file(name, "qmp");
        (socket.as_os_str().len() <= LONGEST_SOCKET).then_some(socket)
    }

    /// Makes this process the guest `name`; `None` if another is.
    pub fn claim(&self, name: &str) -> Result<Option<Claim>> {
        let path = self.file(name, "lock");
        let cannot = |e: std::io::Error| Error::io("cannot lock", &path, e);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(cannot)?;
        for _ in 0..TRIES {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    return Ok(Some(Claim {
                        registry: self.clone(),
                        name: name.to_owned(),
                        _lock: lock,
                    }));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
                Err(e) => return Err(cannot(e.into())),
            }
        }
        Ok(None)
    }

    /// The guest `name`, if it runs.
    pub fn find(&self, name: &str) -> Option<Entry> {
        let entry = self.entry(name)?;
        self.process(&entry).is_some().then_some(entry)
    }

    /// What was published for `name`.
    fn entry(&self, name: &str) -> Option<Entry> {
        let text = files::read_text(self.file(name, "json")).ok()?;
        let entry: Entry = serde_json::from_str(&text).ok()?;
        (entry.name == name).then_some(entry)
    }

    /// The guests that run, by name.  What others left behind when they were
    /// killed is removed.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let cannot = |e| Error::io("cannot read", &self.0, e);
        let mut entries = Vec::new();
        for file in std::fs::read_dir(&self.0).map_err(cannot)? {
            let path = file.map_err(cannot)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            if let Some(entry) = self.find(name) {
                entries.push(entry);
            } else if let Some(stale) = self.claim(name)? {
                match self.entry(name) {
                    Some(entry) if entry.passing => stale.forget(),
                    _ => stale.clear(),
                }
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Sends a signal to the process that runs the guest of `entry`, if it does.
    pub fn signal(&self, entry: &Entry, signal: Signal) {
        if let Some(process) = self.process(entry) {
            let _ = kill_process(process, signal); // it may have ended just now
        }
    }

    /// The process of `entry`, if that has the lock open.
    fn process(&self, entry: &Entry) -> Option<Pid> {
        let place = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let lock = place(files::lstat(self.file(&entry.name, "lock")).ok()?);
        let mut open = std::fs::read_dir(format!("/proc/{}/fd", entry.pid))
            .ok()?
            .flatten()
            .filter_map(|link| std::fs::metadata(link.path()).ok());
        let holds = open.any(|meta| place(meta) == lock);
        holds
            .then(|| Pid::from_raw(i32::try_from(entry.pid).ok()?))
            .flatten()
    }
}

impl Claim {
    /// Lets others know what this guest is.
    pub fn publish(&self, entry: &Entry) -> Result<()> {
        let text = serde_json::to_string(entry)
            .map_err(|e| Error::input("a guest's entry cannot be written as JSON").caused_by(e))?;
        let new = self.registry.file(&self.name, "new");
        files::write(&new, text)?;
        files::rename(new, self.registry.file(&self.name, "json"))
    }

    /// Removes all that others know, but for the log.
    pub fn clear(&self) {
        self.remove(&["json", "qmp", "known", "new"]);
    }

    /// Removes everything.  Nobody may wait for the lock: the name was for one
    /// guest alone.
    pub fn forget(&self) {
        self.clear();
        self.remove(&["log", "log.old", "lock"]);
    }

    fn remove(&self, kinds: &[&str]) {
        for kind in kinds {
            // Most guests have only some of them.
            let _ = std::fs::remove_file(self.registry.file(&self.name, kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_as_long_as_its_claim() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::of_user(dir.path()).unwrap();
        assert_eq!(registry.list().unwrap(), []);
        let entry = Entry {
            name: "web".into(),
            pid: std::process::id(),
            since: 1,
            ports: vec![(8080, 80)],
            ssh: None,
            up: false,
            passing: false,
        };
        let claim = registry.claim("web").unwrap().unwrap();
        assert!(registry.claim("web").unwrap().is_none());
        claim.publish(&entry).unwrap();
        assert_eq!(registry.list().unwrap(), std::slice::from_ref(&entry));
        assert_eq!(registry.find("web"), Some(entry.clone()));
        // A process that does not hold the lock is no guest, and gets no signal.
        let mut other = std::process::Command::new("sleep");
        let mut other = other.arg("100").spawn().unwrap();
        let forged = Entry {
            pid: other.id(),
            ..entry.clone()
        };
        claim.publish(&forged).unwrap();
        assert_eq!(registry.list().unwrap(), []);
        registry.signal(&forged, Signal::TERM);
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
        let passing = Entry {
            passing: true,
            ..entry
        };
        claim.publish(&passing).unwrap();
        files::write(registry.file("web", "log"), "").unwrap();
        // As after kill -9.
        drop(claim);
        assert!(registry.file("web", "json").exists());
        assert_eq!(registry.list().unwrap(), []);
        let left: Vec<_> = std::fs::read_dir(&registry.0).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
