//! Directories: blocks of entries, in the order in which they were added.

use super::BLOCK;
use crate::node::Node;

/// The file type in a directory entry (feature `filetype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileType {
    Regular = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

impl FileType {
    pub(super) fn of(node: &Node) -> Self {
        match node {
            Node::File(_) | Node::HardLink(_) => Self::Regular,
            Node::Directory => Self::Directory,
            Node::CharDevice(..) => Self::CharDevice,
            Node::BlockDevice(..) => Self::BlockDevice,
            Node::Fifo => Self::Fifo,
            Node::Socket => Self::Socket,
            Node::Symlink(_) => Self::Symlink,
        }
    }
}

/// A directory in the making.
#[derive(Debug)]
pub(super) struct Directory {
    bytes: Vec<u8>,
    /// Where the last entry starts.
    last: usize,
}

impl Directory {
    /// A directory with `.` and `..`.
    pub(super) fn new(inode: u32, parent: u32) -> Self {
        let mut directory = Self {
            bytes: Vec::new(),
            last: 0,
        };
        directory.add(b".", inode, FileType::Directory);
        directory.add(b"..", parent, FileType::Directory);
        directory
    }

    /// Adds an entry; the name is 1 to 255 bytes long.
    pub(super) fn add(&mut self, name: &[u8], inode: u32, kind: FileType) {
        let length = (8 + name.len()).next_multiple_of(4);
        let left = self.bytes.len().next_multiple_of(BLOCK as usize) - self.bytes.len();
        if left < length {
            self.fill_block();
        }
        self.last = self.bytes.len();
        self.bytes.extend(inode.to_le_bytes());
        self.bytes.extend((length as u16).to_le_bytes());
        self.bytes.push(name.len() as u8);
        self.bytes.push(kind as u8);
        self.bytes.extend(name);
        self.bytes.resize(self.last + length, 0);
    }

    /// The whole blocks.
    pub(super) fn into_blocks(mut self) -> Vec<u8> {
        self.fill_block();
        self.bytes
    }

    /// Makes the last entry reach to the end of its block.
    fn fill_block(&mut self) {
        let end = self.bytes.len().next_multiple_of(BLOCK as usize);
        let length = (end - self.last) as u16;
        if end > self.bytes.len() {
            self.bytes[self.last + 4..self.last + 6].copy_from_slice(&length.to_le_bytes());
            self.bytes.resize(end, 0);
        }
    }
}
