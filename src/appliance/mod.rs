//! Rehydration: a skeleton and a host become a bootable appliance.

pub mod cache;
mod freshness;
mod host_entries;
pub mod image;
pub mod initrd;
pub mod kernel;
pub mod modules;
mod newer;
pub mod plan;
mod planner;
mod readers;
mod rehydrate;
pub mod shared;
mod stamp;
pub mod supermin4;
mod system;
mod tree;
mod walk;

pub use freshness::{Freshness, ensure, is_chroot_newer, outdated};
pub use planner::{Options, Report, Unreadable};
pub use readers::Readers;
pub use rehydrate::{
    Prepared, Rehydration, Request, Statistics, explain, make, make_chroot, plan_for, prepare,
    write, write_chroot,
};
pub use stamp::{Stamp, Standing};
pub use system::{Unreproduced, unreproduced};
pub use tree::Conflict;

use crate::{Error, Result, files};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The stamp's file name beside the appliance's three files.
const STAMP: &str = "stamp.json";

/// What the appliance in `directory` was made from, if Freezedry made it for
/// its cache.
pub fn stamp(directory: &Path) -> Option<Stamp> {
    Stamp::read(&directory.join(STAMP)).ok()
}

/// Where the superblock lies in an ext2 image, in bytes.
///
/// Source: <https://docs.kernel.org/filesystems/ext4/globals.html>.
const SUPERBLOCK: u64 = 1024;

/// The full, bootable thing: three files in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appliance {
    /// The kernel, as qemu takes it.
    pub kernel: PathBuf,
    /// The initial RAM disk that mounts `root`.
    pub initrd: PathBuf,
    /// The disk image with the root file system.
    pub root: PathBuf,
}

impl Appliance {
    /// The appliance whose files lie, or would lie, in `directory`.
    pub fn at(directory: &Path) -> Self {
        Self {
            kernel: directory.join("kernel"),
            initrd: directory.join("initrd"),
            root: directory.join("root"),
        }
    }

    /// The three files, and the `directory` that they lie in.
    fn outputs(&self, directory: &Path) -> [PathBuf; 4] {
        let Self {
            kernel,
            initrd,
            root,
        } = self.clone();
        [directory.to_owned(), kernel, initrd, root]
    }

    /// Whether all three files are there and the image holds the whole of a
    /// file system.
    pub fn is_whole(&self) -> bool {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        let superblock = self.superblock();
        let field = |at: usize| {
            let bytes = superblock.as_ref().ok()?.get(at..at + 4)?;
            Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
        };
        // `s_blocks_count_lo` and `s_log_block_size`.
        let size = match (field(0x4), field(0x18)) {
            (Some(blocks), Some(log @ ..=6)) => blocks << (10 + log),
            _ => return false,
        };
        length(&self.kernel) > 0 && length(&self.initrd) > 0 && length(&self.root) >= size
    }

    /// The UUID of the root file system, as `root=UUID=` wants it.
    pub fn uuid(&self) -> Result<String> {
        let superblock = self.superblock()?;
        let hex = |range: std::ops::Range<usize>| -> String {
            superblock[range]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        Ok(format!(
            "{}-{}-{}-{}-{}",
            hex(0x68..0x6c),
            hex(0x6c..0x6e),
            hex(0x6e..0x70),
            hex(0x70..0x72),
            hex(0x72..0x78)
        ))
    }

    /// The superblock of the root file system; without its magic, an error.
    fn superblock(&self) -> Result<[u8; 1024]> {
        let cannot = |e| Error::io("cannot read the file system in", &self.root, e);
        let mut image = files::open(&self.root)?;
        let mut superblock = [0; 1024];
        image
            .seek(SeekFrom::Start(SUPERBLOCK))
            .and_then(|_| image.read_exact(&mut superblock))
            .map_err(cannot)?;
        if superblock[0x38..0x3a] != [0x53, 0xef] {
            return Err(Error::input(format!(
                "`{}` holds no ext2 file system",
                self.root.display()
            ))
            .hint("remove the appliance; the next boot makes a new one"));
        }
        Ok(superblock)
    }
}
