//! The guests of this user that run in the background.
//!
//! ```text
//! RUN/NAME.lock       held by the process that runs the guest, as long as it lives
//!     NAME.json       what it is; see [`Entry`]
//!     NAME.log        its console
//!     NAME.qmp        qemu's monitor
//!     NAME.known      the host key of its sshd
//! ```
//!
//! Whether a guest runs is asked of its lock: unlike a process id, the kernel
//! takes that back and gives it to nobody else.

use crate::{Error, Result, files};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

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

impl Registry {
    /// The registry of this user: `$XDG_RUNTIME_DIR/freezedry` if there is such a
    /// directory (after su(1) there often is none), else `run` in the `cache`.
    pub fn of_user(cache: &Path) -> Self {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let there = |path: &PathBuf| path.is_absolute() && path.is_dir();
        Self(match runtime.filter(there) {
            Some(runtime) => runtime.join("freezedry"),
            None => cache.join("run"),
        })
    }

    /// The file of the guest `name` that ends in `kind`: `log`, `qmp`, `known`.
    pub fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.0.join(format!("{name}.{kind}"))
    }

    /// Makes this process the guest `name`; `None` if another is.
    pub fn claim(&self, name: &str) -> Result<Option<Claim>> {
        files::create_private_dir_all(&self.0)?;
        let socket = self.file(name, "qmp");
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(Error::host(format!(
                "the path `{}` is too long for a socket",
                socket.display()
            ))
            .hint("set XDG_RUNTIME_DIR or FREEZEDRY_CACHE_DIR to a shorter path"));
        }
        let path = self.file(name, "lock");
        let cannot = |e: std::io::Error| Error::io("cannot lock", &path, e);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(cannot)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Claim {
                registry: self.clone(),
                name: name.to_owned(),
                _lock: lock,
            })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(cannot(e.into())),
        }
    }

    /// The guest `name`, if it runs.
    pub fn find(&self, name: &str) -> Result<Option<Entry>> {
        Ok(self.list()?.into_iter().find(|entry| entry.name == name))
    }

    /// The guests that run, by name.  What others left behind when they were
    /// killed is removed.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let Ok(listed) = std::fs::read_dir(&self.0) else {
            return Ok(entries); // nobody has ever run in the background
        };
        for file in listed.flatten() {
            let path = file.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            if let Some(stale) = self.claim(name)? {
                stale.clear();
                continue;
            }
            // It may end just now, or be about to say more.
            let text = files::read_text(&path).unwrap_or_default();
            entries.extend(serde_json::from_str::<Entry>(&text));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
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
        for kind in ["json", "qmp", "known", "new"] {
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
        let registry = Registry(dir.path().join("run"));
        assert_eq!(registry.list().unwrap(), []);
        let entry = Entry {
            name: "web".into(),
            pid: 7,
            since: 1,
            ports: vec![(8080, 80)],
            ssh: None,
            up: false,
        };
        let claim = registry.claim("web").unwrap().unwrap();
        assert!(registry.claim("web").unwrap().is_none());
        claim.publish(&entry).unwrap();
        assert_eq!(registry.list().unwrap(), std::slice::from_ref(&entry));
        assert_eq!(registry.find("web").unwrap(), Some(entry));
        // As after kill -9.
        drop(claim);
        assert!(registry.file("web", "json").exists());
        assert_eq!(registry.list().unwrap(), []);
        assert!(!registry.file("web", "json").exists());
    }
}
