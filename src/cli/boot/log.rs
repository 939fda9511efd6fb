//! What a guest in the background says: a file that does not grow for ever.

use crate::boot::relay::{owned, relay};
use crate::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// When it has so many bytes, it becomes the old one; earlier ones are forgotten.
const LIMIT: u64 = 4 << 20;

/// As long as it lives, it takes what this process writes to its standard output
/// and standard error.
pub(super) struct Log {
    stderr: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Begins a new log at `path`.
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let cannot = |e: rustix::io::Errno| Error::io("cannot write to", path, e);
        let mut file = Limited::create(path)?;
        let stderr = owned(std::io::stderr())?;
        let (from, to) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(cannot)?;
        rustix::stdio::dup2_stdout(&to).map_err(cannot)?;
        rustix::stdio::dup2_stderr(&to).map_err(cannot)?;
        let thread = std::thread::spawn(move || {
            relay(File::from(from), |bytes| {
                file.write(bytes);
                true
            });
        });
        Ok(Self {
            stderr,
            thread: Some(thread),
        })
    }
}

impl Drop for Log {
    /// The guest has ended, and with it all that writes here.
    fn drop(&mut self) {
        let restored = rustix::stdio::dup2_stdout(&self.stderr)
            .and_then(|()| rustix::stdio::dup2_stderr(&self.stderr));
        if let (Ok(()), Some(thread)) = (restored, self.thread.take()) {
            let _ = thread.join(); // it does not panic
        }
    }
}

struct Limited {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Limited {
    fn create(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|e| Error::io("cannot create", path, e))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size: 0,
        })
    }

    /// Writes what can be written: the guest goes on when the disk is full.
    fn write(&mut self, bytes: &[u8]) {
        let length = bytes.len() as u64;
        if self.size + length > LIMIT {
            let _ = std::fs::rename(&self.path, self.path.with_extension("log.old"));
            if let Ok(new) = Self::create(&self.path) {
                *self = new;
            }
        }
        if self.file.write_all(bytes).is_ok() {
            self.size += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn a_log_keeps_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.b.log");
        let mut log = Limited::create(&path).unwrap();
        let line = vec![b'x'; 1 << 16];
        for _ in 0..3 * LIMIT / line.len() as u64 {
            log.write(&line);
        }
        log.write(b"last");
        let length = |name: &str| files::read(dir.path().join(name)).unwrap().len() as u64;
        assert_eq!(length("a.b.log.old"), LIMIT);
        assert!(length("a.b.log") <= LIMIT);
        assert!(files::read(&path).unwrap().ends_with(b"last"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::os::unix::fs::symlink("victim", &path).unwrap();
        assert!(Limited::create(&path).is_err());
    }
}
