//! Inodes and the block maps that hang from them.

use super::allocate::Allocator;
use super::{BLOCK, Entry};
use crate::node::Node;

/// The size of an inode, in bytes.
pub(super) const SIZE: usize = 256;
/// Bytes of the fields after the first 128 that are in use.
const EXTRA: u16 = 32;
/// Bytes for extended attributes at the end of an inode.
pub(super) const XATTR_ROOM: usize = SIZE - 128 - EXTRA as usize;
/// The largest file, in bytes: `i_blocks` counts 512-byte units in 32 bits.
pub(super) const MAX_SIZE: u64 = (1 << 41) - (1 << 33);

/// Blocks that are listed in the inode itself.
const DIRECT: usize = 12;
/// Block numbers in one block of a map.
const POINTERS: usize = BLOCK as usize / 4;

/// An inode.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// Type and permissions.
    pub(super) mode: u16,
    uid: u32,
    gid: u32,
    mtime: i64,
    pub(super) links: u32,
    pub(super) size: u64,
    /// Blocks in use, those of the map included.
    blocks: u64,
    /// The block with extended attributes that do not fit into the inode, or 0.
    xattr_block: u32,
    /// Extended attributes in the inode, as they lie on the disk.
    inline: Vec<u8>,
    /// `i_block`: block numbers, a short symlink's target, or a device.
    block: [u8; 60],
}

/// Whether a symlink's target fits into the inode.
pub(super) fn is_fast(target: &[u8]) -> bool {
    target.len() < 60
}

impl Inode {
    /// The inode of `entry`, without content and with one link.
    pub(super) fn of(entry: &Entry) -> Self {
        let kind = match entry.node {
            Node::Fifo => 0o1,
            Node::CharDevice(..) => 0o2,
            Node::Directory => 0o4,
            Node::BlockDevice(..) => 0o6,
            Node::File(_) | Node::HardLink(_) => 0o10,
            Node::Symlink(_) => 0o12,
            Node::Socket => 0o14,
        };
        let mut block = [0; 60];
        if let Node::CharDevice(major, minor) | Node::BlockDevice(major, minor) = entry.node {
            // The old form has 8 bits each; the new one lies in the second word.
            if major < 256 && minor < 256 {
                block[..4].copy_from_slice(&(major << 8 | minor).to_le_bytes());
            } else {
                let device = minor & 0xff | major << 8 | (minor & !0xff) << 12;
                block[4..8].copy_from_slice(&device.to_le_bytes());
            }
        }
        Self {
            mode: kind << 12 | entry.mode & 0o7777,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            links: 1,
            size: 0,
            blocks: 0,
            xattr_block: 0,
            inline: Vec::new(),
            block,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.mode >> 12 == 0o4
    }

    pub(super) fn set_fast_symlink(&mut self, target: &[u8]) {
        self.size = target.len() as u64;
        self.block[..target.len()].copy_from_slice(target);
    }

    /// Puts extended attributes into the inode itself.
    pub(super) fn set_inline_xattrs(&mut self, bytes: Vec<u8>) {
        self.inline = bytes;
    }

    /// Says that extended attributes lie in `block`; to be called after
    /// [`Inode::map`], which counts blocks anew.
    pub(super) fn set_xattr_block(&mut self, block: u32) {
        self.xattr_block = block;
        self.blocks += 1;
    }

    /// Lists `blocks` in the inode, and in map blocks taken from `allocator`,
    /// which are returned; `None` if there are too few.
    pub(super) fn map(
        &mut self,
        blocks: &[u32],
        allocator: &mut Allocator,
    ) -> Option<Vec<(u32, Vec<u8>)>> {
        let mut maps = Vec::new();
        let (direct, mut rest) = blocks.split_at(blocks.len().min(DIRECT));
        for (slot, block) in direct.iter().enumerate() {
            self.point(slot, *block);
        }
        // One map of blocks, one of maps, one of maps of maps.
        for level in 0..3 {
            if rest.is_empty() {
                break;
            }
            let covered = rest.len().min(POINTERS.pow(level + 1));
            let (here, after) = rest.split_at(covered);
            let top = tree(here, level, allocator, &mut maps)?;
            self.point(DIRECT + level as usize, top);
            rest = after;
        }
        self.blocks = (blocks.len() + maps.len()) as u64;
        rest.is_empty().then_some(maps)
    }

    fn point(&mut self, slot: usize, block: u32) {
        self.block[slot * 4..slot * 4 + 4].copy_from_slice(&block.to_le_bytes());
    }

    /// Writes the inode to `out`, which is zero and [`SIZE`] bytes long.
    pub(super) fn write(&self, out: &mut [u8]) {
        // Beyond 32 bits, two more bits hold the epoch (until the year 2446).
        let mtime = self
            .mtime
            .clamp(i64::from(i32::MIN), (1 << 33) + i64::from(i32::MAX));
        let low = mtime as i32;
        let epoch = ((mtime - i64::from(low)) >> 32)
            .rem_euclid(4)
            .unsigned_abs() as u32;
        put(out, 0x00, &self.mode.to_le_bytes());
        put(out, 0x02, &(self.uid as u16).to_le_bytes());
        put(out, 0x04, &(self.size as u32).to_le_bytes());
        for at in [0x08, 0x0c, 0x10, 0x90] {
            put(out, at, &low.to_le_bytes()); // access, change, modification, creation
        }
        put(out, 0x18, &(self.gid as u16).to_le_bytes());
        put(out, 0x1a, &(self.links as u16).to_le_bytes());
        put(
            out,
            0x1c,
            &((self.blocks * (BLOCK / 512)) as u32).to_le_bytes(),
        );
        put(out, 0x28, &self.block);
        put(out, 0x68, &self.xattr_block.to_le_bytes());
        put(out, 0x6c, &((self.size >> 32) as u32).to_le_bytes());
        put(out, 0x78, &((self.uid >> 16) as u16).to_le_bytes());
        put(out, 0x7a, &((self.gid >> 16) as u16).to_le_bytes());
        put(out, 0x80, &EXTRA.to_le_bytes());
        for at in [0x84, 0x88, 0x8c, 0x94] {
            put(out, at, &epoch.to_le_bytes());
        }
        put(out, SIZE - XATTR_ROOM, &self.inline);
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A tree of map blocks over `blocks`, `level` maps deep below the one that is
/// returned.
fn tree(
    blocks: &[u32],
    level: u32,
    allocator: &mut Allocator,
    maps: &mut Vec<(u32, Vec<u8>)>,
) -> Option<u32> {
    let (block, _) = *allocator.allocate(1)?.first()?;
    let pointers: Vec<u32> = if level == 0 {
        blocks.to_vec()
    } else {
        blocks
            .chunks(POINTERS.pow(level))
            .map(|chunk| tree(chunk, level - 1, allocator, maps))
            .collect::<Option<_>>()?
    };
    let mut content: Vec<u8> = pointers
        .iter()
        .flat_map(|block| block.to_le_bytes())
        .collect();
    content.resize(BLOCK as usize, 0);
    maps.push((block, content));
    Some(block)
}
