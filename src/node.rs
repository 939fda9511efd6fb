//! What a path can be: the vocabulary that skeletons, plans and images share.

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
    Host {
        /// Its path on the host.
        path: PathBuf,
        /// Its size in bytes when the plan was made.
        size: u64,
    },
    /// Bytes in memory, from a base image or made by us.
    Bytes(Arc<[u8]>),
}

impl Content {
    /// The size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Host { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}
