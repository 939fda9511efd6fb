//! The superblock, the group descriptors, and their copies.

use super::allocate::{Allocator, BLOCKS_PER_GROUP, Geometry};
use super::{BLOCK, FIRST_INODE, Options, inode};
use std::collections::BTreeMap;

/// Where the superblock lies in the first block, in bytes.
const OFFSET: usize = 1024;

const COMPAT_EXT_ATTR: u32 = 0x8;
const INCOMPAT_FILETYPE: u32 = 0x2;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_LARGE_FILE: u32 = 0x2;

/// Adds superblocks and descriptors to `metadata`; `counts` is how many inodes
/// and directories are in use in each group.
pub(super) fn write(
    metadata: &mut BTreeMap<u32, Vec<u8>>,
    allocator: &Allocator,
    counts: &[(u32, u16)],
    options: &Options,
) {
    let geometry = &allocator.geometry;
    let mut descriptors = Vec::new();
    let (mut free_blocks, mut free_inodes) = (0, 0);
    for (group, &(inodes, directories)) in (0u32..).zip(counts) {
        let places = geometry.group(group);
        let blocks = allocator.free(group);
        let inodes = geometry.inodes_per_group - inodes;
        free_blocks += blocks;
        free_inodes += inodes;
        for number in [places.block_bitmap, places.inode_bitmap, places.inode_table] {
            descriptors.extend(number.to_le_bytes());
        }
        for number in [blocks as u16, inodes as u16, directories] {
            descriptors.extend(number.to_le_bytes());
        }
        descriptors.resize(descriptors.len().next_multiple_of(32), 0);
    }
    descriptors.resize(descriptors.len().next_multiple_of(BLOCK as usize), 0);

    for group in (0..geometry.groups).filter(|&group| Geometry::has_superblock(group)) {
        let start = group * BLOCKS_PER_GROUP;
        let superblock = superblock(geometry, free_blocks, free_inodes, group, options);
        let mut block = vec![0; BLOCK as usize];
        // A copy lies at the start of its group; before the first is the boot sector.
        let at = if group == 0 { OFFSET } else { 0 };
        block[at..at + superblock.len()].copy_from_slice(&superblock);
        metadata.insert(start, block);
        for (number, block) in (start + 1..).zip(descriptors.chunks(BLOCK as usize)) {
            metadata.insert(number, block.to_vec());
        }
    }
}

fn superblock(
    geometry: &Geometry,
    free_blocks: u32,
    free_inodes: u32,
    group: u32,
    options: &Options,
) -> Vec<u8> {
    let mut out = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    let time = options.timestamp.to_le_bytes();
    put(
        0x00,
        &(geometry.inodes_per_group * geometry.groups).to_le_bytes(),
    );
    put(0x04, &geometry.blocks.to_le_bytes());
    put(0x0c, &free_blocks.to_le_bytes());
    put(0x10, &free_inodes.to_le_bytes());
    put(0x18, &2u32.to_le_bytes()); // log2(block size) - 10
    put(0x1c, &2u32.to_le_bytes());
    put(0x20, &BLOCKS_PER_GROUP.to_le_bytes());
    put(0x24, &BLOCKS_PER_GROUP.to_le_bytes());
    put(0x28, &geometry.inodes_per_group.to_le_bytes());
    put(0x30, &time); // last written
    put(0x36, &u16::MAX.to_le_bytes()); // no check after so many mounts
    put(0x38, &0xef53u16.to_le_bytes());
    put(0x3a, &1u16.to_le_bytes()); // clean
    put(0x3c, &1u16.to_le_bytes()); // on errors: continue
    put(0x40, &time); // last checked
    put(0x4c, &1u32.to_le_bytes()); // dynamic inode sizes
    put(0x54, &FIRST_INODE.to_le_bytes());
    put(0x58, &(inode::SIZE as u16).to_le_bytes());
    put(0x5a, &(group as u16).to_le_bytes());
    put(0x5c, &COMPAT_EXT_ATTR.to_le_bytes());
    put(0x60, &INCOMPAT_FILETYPE.to_le_bytes());
    put(
        0x64,
        &(RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE).to_le_bytes(),
    );
    put(0x68, &options.uuid);
    put(0xec, &options.uuid); // the seed of directory hashes
    put(0xfc, &[1]); // half MD4, if the guest's tools index directories
    put(0x100, &0x0cu32.to_le_bytes()); // mount options: user_xattr, acl
    put(0x108, &time); // made
    put(0x15c, &32u16.to_le_bytes()); // bytes of inodes beyond 128: at least,
    put(0x15e, &32u16.to_le_bytes()); // and wanted
    put(0x160, &1u32.to_le_bytes()); // hashes are of signed characters
    out
}
