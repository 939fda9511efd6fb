//! What a path can be: the vocabulary that skeletons, plans and images share.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// What kind of file a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link with this text as its target, at most 4095 bytes.
    Symlink(PathBuf),
    /// Another name of the regular file that lies at this path.
    HardLink(PathBuf),
    /// A character device with its major and minor number.
    CharDevice(u32, u32),
    /// A block device with its major and minor number.
    BlockDevice(u32, u32),
    /// A FIFO.
    Fifo,
    /// A Unix socket.
    Socket,
}

/// Where the bytes of a regular file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file of the host, read only when the image is written.
    Host(HostFile),
    /// Bytes in memory, from a base image or made by us.
    Bytes(Arc<[u8]>),
}

impl Content {
    /// The size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Host(file) => file.size,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// A regular file of the host, as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFile {
    /// Its path on the host.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The device that it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// When its content or anything else of it was last changed: seconds since
    /// 1970 and nanoseconds.  No program can set this time back.
    pub changed: (i64, i64),
}

impl HostFile {
    /// The file at `path`, which is as `meta` says.
    pub fn new(path: impl Into<PathBuf>, meta: &Metadata) -> Self {
        Self {
            path: path.into(),
            size: meta.len(),
            device: meta.dev(),
            inode: meta.ino(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Why what is there now is not this file, judged by its metadata: the end of
    /// a sentence that begins with its name.  `None` if it is.
    ///
    /// Its content may be another: what is written in place all the time, as
    /// databases are, is good as it is found.
    pub fn difference(&self, meta: &Metadata) -> Option<String> {
        let now = Self::new(self.path.clone(), meta);
        if !meta.is_file() {
            Some("is no longer a regular file".into())
        } else if (now.device, now.inode) != (self.device, self.inode) {
            Some("was replaced by another file".into())
        } else if now.size != self.size {
            Some(format!("changed from {} to {} bytes", self.size, now.size))
        } else {
            None
        }
    }
}
