//! What an appliance was made from, so that a later run knows whether it is
//! still good.
//!
//! Two levels: if nothing that was *looked at* has changed (the skeleton's
//! bytes, the package database's and the kernel's metadata, the options), the
//! appliance is fresh.  Otherwise the plan is made anew, which is quick, and
//! the appliance is still good if that gives the same digest: an upgrade of an
//! unrelated package changes the database but not the plan.

use super::plan::Plan;
use crate::node::{Content, HostFile, Node};
use crate::{Error, Result, error::Kind, files};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The two digests, each 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Of everything that was looked at to make the plan.
    pub inputs: String,
    /// Of the plan, the kernel and the initrd.
    pub plan: String,
}

/// Whether an appliance is as a skeleton and a host want it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Nothing that was looked at has changed.
    Fresh,
    /// Something has changed, but nothing that goes in.
    Unaffected,
    /// Another one would be made.
    Stale,
}

impl Stamp {
    /// Reads the stamp at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        serde_json::from_slice(&files::read(path)?)
            .map_err(|e| Error::io("cannot read the stamp", path, std::io::Error::other(e)))
    }

    /// Writes the stamp to `path`, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| {
            Error::new(Kind::System, "cannot make the appliance's stamp").caused_by(e)
        })?;
        let new = path.with_extension("new");
        files::write(&new, text)?;
        // It holds no secrets, and that of a shared appliance is for everybody.
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o644))
            .map_err(|e| Error::io("cannot set the mode of", &new, e))?;
        files::rename(new, path)
    }
}

/// A digest of values, each told apart from the next.
#[derive(Debug, Default)]
pub(super) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.add(number.to_le_bytes())
    }

    /// Adds which file is at `path` now, without reading it.
    pub(super) fn identity(&mut self, path: &Path) -> &mut Self {
        self.add(path.as_os_str().as_bytes());
        match std::fs::metadata(path) {
            Ok(meta) => {
                // Not the device: its number may change from one boot to the next.
                self.number(meta.ino()).number(meta.size());
                for time in [
                    meta.mtime(),
                    meta.mtime_nsec(),
                    meta.ctime(),
                    meta.ctime_nsec(),
                ] {
                    self.add(time.to_le_bytes());
                }
                self
            }
            Err(_) => self.add("absent"),
        }
    }

    /// Adds which file of the host goes in: the very one that writing an image
    /// insists on.
    fn host_file(&mut self, file: &HostFile) -> &mut Self {
        self.add(file.path.as_os_str().as_bytes());
        // Not the device, as above.
        self.number(file.inode).number(file.size);
        let (seconds, nanoseconds) = file.changed;
        self.add(seconds.to_le_bytes())
            .add(nanoseconds.to_le_bytes())
    }

    /// Adds the names and contents of the files that `inputs` are or hold.
    pub(super) fn contents(&mut self, inputs: &[PathBuf]) -> Result<&mut Self> {
        for input in inputs {
            if input.is_dir() {
                let cannot = |e| Error::io("cannot list", input, e);
                let mut inside = Vec::new();
                for entry in std::fs::read_dir(input).map_err(cannot)? {
                    inside.push(entry.map_err(cannot)?.path());
                }
                inside.sort();
                self.number(inside.len() as u64).contents(&inside)?;
            } else if std::fs::metadata(input).is_ok_and(|meta| !meta.is_file()) {
                // A FIFO, say: reading it might never end, and reading the
                // skeleton refuses it.
                self.identity(input);
            } else {
                self.add(files::read(input)?);
            }
        }
        Ok(self)
    }

    /// Adds all that `plan` says; of the host's files, which ones they are.
    pub(super) fn plan(&mut self, plan: &Plan) -> &mut Self {
        for entry in &plan.entries {
            self.add(entry.path.as_os_str().as_bytes());
            for number in [entry.mode.into(), entry.uid.into(), entry.gid.into()] {
                self.number(number);
            }
            for xattr in &entry.xattrs {
                self.add(&xattr.name).add(&xattr.value);
            }
            // That of a directory of the host changes with every file that any
            // package puts into it, and nobody looks at it in the guest.
            if entry.node != Node::Directory {
                self.add(entry.mtime.to_le_bytes());
            }
            match &entry.node {
                Node::Directory => self.add("directory"),
                Node::File(Content::Bytes(bytes)) => self.add("bytes").add(bytes),
                // Not only size and time: a rebuilt package may keep both.
                Node::File(Content::Host(file)) => self.add("host").host_file(file),
                Node::Symlink(target) => self.add("symlink").add(target.as_os_str().as_bytes()),
                Node::HardLink(target) => self.add("link").add(target.as_os_str().as_bytes()),
                Node::CharDevice(major, minor) => self
                    .add("char")
                    .number((*major).into())
                    .number((*minor).into()),
                Node::BlockDevice(major, minor) => self
                    .add("block")
                    .number((*major).into())
                    .number((*minor).into()),
                Node::Fifo => self.add("fifo"),
                Node::Socket => self.add("socket"),
            };
        }
        self
    }

    /// The digest so far.
    pub(super) fn bytes(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    /// The digest so far, in hexadecimal.
    pub(super) fn hex(&self) -> String {
        self.bytes().iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_do_not_run_together() {
        let digest = |parts: &[&str]| {
            let mut print = Fingerprint::default();
            for part in parts {
                print.add(part);
            }
            print.hex()
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab"]).len(), 64);
    }

    #[test]
    fn a_replaced_file_has_another_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status");
        let identity = || Fingerprint::default().identity(&path).hex();
        let absent = identity();
        files::write(&path, "1").unwrap();
        let first = identity();
        assert_eq!(first, identity());
        files::write(dir.path().join("new"), "2").unwrap();
        files::rename(dir.path().join("new"), &path).unwrap();
        assert_ne!(first, identity());
        assert_ne!(first, absent);
    }
}
