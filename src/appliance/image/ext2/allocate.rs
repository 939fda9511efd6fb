//! Block groups, and handing out their blocks in order.

use super::{BLOCK, inode};

/// Bits in a bitmap of one block.
pub(super) const BLOCKS_PER_GROUP: u32 = 8 * BLOCK as u32;
const INODES_PER_BLOCK: u32 = BLOCK as u32 / inode::SIZE as u32;
/// One inode for so many bytes, as mke2fs does by default.
const BYTES_PER_INODE: u64 = 16384;

/// How the file system is divided.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    /// Blocks in all.
    pub(super) blocks: u32,
    /// Block groups.
    pub(super) groups: u32,
    /// Inodes of each group.
    pub(super) inodes_per_group: u32,
}

/// The metadata of one group: block numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) block_bitmap: u32,
    pub(super) inode_bitmap: u32,
    pub(super) inode_table: u32,
    /// The first block for data.
    pub(super) data: u32,
    /// One past the last block.
    pub(super) end: u32,
}

impl Geometry {
    /// For `size` bytes with at least `inodes` in use; `None` if that cannot be.
    pub(super) fn new(size: u64, inodes: u64) -> Option<Self> {
        let mut blocks = u32::try_from(size / BLOCK).ok()?;
        // Half as many again, so that the guest can make files.
        let wanted = (size / BYTES_PER_INODE).max(inodes.checked_add(inodes / 2)?);
        loop {
            let groups = blocks.div_ceil(BLOCKS_PER_GROUP);
            let last = groups.checked_sub(1)?;
            let per_group = u32::try_from(wanted.div_ceil(u64::from(groups))).ok()?;
            let inodes_per_group = per_group.checked_next_multiple_of(INODES_PER_BLOCK)?;
            if inodes_per_group > BLOCKS_PER_GROUP {
                return None;
            }
            let geometry = Self {
                blocks,
                groups,
                inodes_per_group,
            };
            let places = geometry.group(last);
            if places.data + 50 <= places.end {
                return Some(geometry);
            }
            // A last group without room for its own metadata and some data is
            // left out, as mke2fs does; the others take its inodes.
            blocks = last * BLOCKS_PER_GROUP;
        }
    }

    /// Whether `group` holds a copy of the superblock (feature `sparse_super`).
    pub(super) fn has_superblock(group: u32) -> bool {
        let power = |base: u32| {
            let mut value = base;
            while value < group {
                value *= base;
            }
            value == group
        };
        group <= 1 || power(3) || power(5) || power(7)
    }

    /// Blocks that the table of group descriptors takes.
    pub(super) fn descriptor_blocks(&self) -> u32 {
        (self.groups * 32).div_ceil(BLOCK as u32)
    }

    /// Where the metadata of group number `index` lies.
    pub(super) fn group(&self, index: u32) -> Group {
        let start = index * BLOCKS_PER_GROUP;
        let copies = if Self::has_superblock(index) {
            1 + self.descriptor_blocks()
        } else {
            0
        };
        let block_bitmap = start + copies;
        let inode_table = block_bitmap + 2;
        Group {
            block_bitmap,
            inode_bitmap: block_bitmap + 1,
            inode_table,
            data: inode_table + self.inodes_per_group / INODES_PER_BLOCK,
            end: start.saturating_add(BLOCKS_PER_GROUP).min(self.blocks),
        }
    }

    /// The block that holds inode `number`, and the byte in it.
    pub(super) fn inode_position(&self, number: u32) -> (u32, usize) {
        let group = self.group((number - 1) / self.inodes_per_group);
        let index = (number - 1) % self.inodes_per_group;
        (
            group.inode_table + index / INODES_PER_BLOCK,
            (index % INODES_PER_BLOCK) as usize * inode::SIZE,
        )
    }
}

/// Hands out the data blocks of the groups, lowest first, without gaps: a file
/// lies in one piece unless it crosses into another group.
#[derive(Debug)]
pub(super) struct Allocator {
    pub(super) geometry: Geometry,
    group: u32,
    next: u32,
}

impl Allocator {
    pub(super) fn new(geometry: Geometry) -> Self {
        let next = geometry.group(0).data;
        Self {
            geometry,
            group: 0,
            next,
        }
    }

    /// `count` blocks as runs (start, count); `None` if there are not so many.
    pub(super) fn allocate(&mut self, mut count: u64) -> Option<Vec<(u32, u32)>> {
        let mut runs = Vec::new();
        while count > 0 {
            let end = self.geometry.group(self.group).end;
            if self.next == end {
                self.group += 1;
                if self.group == self.geometry.groups {
                    return None;
                }
                self.next = self.geometry.group(self.group).data;
                continue;
            }
            let run = u64::from(end - self.next).min(count) as u32;
            runs.push((self.next, run));
            self.next += run;
            count -= u64::from(run);
        }
        Some(runs)
    }

    /// Data blocks of `group` that are not handed out.
    pub(super) fn free(&self, group: u32) -> u32 {
        let places = self.geometry.group(group);
        match group.cmp(&self.group) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => places.end - self.next,
            std::cmp::Ordering::Greater => places.end - places.data,
        }
    }

    /// The block bitmap of `group`; bits beyond the end of the file system are set.
    pub(super) fn bitmap(&self, group: u32) -> Vec<u8> {
        let places = self.geometry.group(group);
        let start = group * BLOCKS_PER_GROUP;
        let free = places.end - self.free(group) - start..places.end - start;
        let mut bitmap = vec![0xff; BLOCK as usize];
        for bit in free {
            bitmap[bit as usize / 8] &= !(1 << (bit % 8));
        }
        bitmap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_inode_has_a_place(
            groups in 0..40u64, more in 0..5000u64, inodes in 11..400_000u64,
        ) {
            let size = (groups * u64::from(BLOCKS_PER_GROUP) + more) * BLOCK;
            if let Some(geometry) = Geometry::new(size, inodes) {
                let all = geometry.groups * geometry.inodes_per_group;
                prop_assert!(u64::from(all) >= inodes);
                let last = geometry.group(geometry.groups - 1);
                prop_assert!(last.data + 50 <= last.end);
                prop_assert!(u64::from(last.end) * BLOCK <= size);
            }
        }
    }
}
