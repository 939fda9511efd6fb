//! An ext2 file system as a layout: metadata in memory, and for the data of
//! files only where in the image it belongs.
//!
//! 4096-byte blocks, 256-byte inodes, no journal; the features are those that
//! Linux's ext2 and ext4 drivers both know: `filetype`, `sparse_super`,
//! `large_file`, `ext_attr`.
//!
//! Format facts: <https://docs.kernel.org/filesystems/ext4/> and e2fsprogs'
//! `ext2_fs.h`.

mod allocate;
mod directory;
mod inode;
mod superblock;
mod xattr;

use crate::appliance::plan::{Entry, Origin, Plan};
use crate::appliance::tree;
use crate::node::{Content, Node};
use crate::{Error, Result};
use allocate::{Allocator, Geometry};
use directory::{Directory, FileType};
use inode::Inode;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use xattr::Encoded;
pub use xattr::fitting;

/// The size of a block, in bytes.
pub const BLOCK: u64 = 4096;
/// The size of the file system where nobody asks for another: 4 GiB, sparse,
/// as supermin makes it.
pub const DEFAULT_SIZE: u64 = 4 << 30;

const ROOT_INODE: u32 = 2;
/// The first inode that is not reserved; e2fsprogs gives it to `lost+found`.
const FIRST_INODE: u32 = 11;
/// Links of one inode: the field has 16 bits, and the drivers stop a bit earlier.
const MAX_LINKS: u32 = 65_000;

/// How a file system is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Its UUID.
    pub uuid: [u8; 16],
    /// Its size in bytes; `None` for [`DEFAULT_SIZE`], or more if the plan needs it.
    pub size: Option<u64>,
    /// The time at which it is said to have been made, in seconds since 1970.
    pub timestamp: u32,
}

/// Where every block of a file system lies.
#[derive(Debug)]
pub struct Layout<'plan> {
    /// The size of the image, in bytes.
    pub size: u64,
    /// Metadata: number and content of blocks that are not all zero.
    pub metadata: BTreeMap<u32, Vec<u8>>,
    /// Data of files, in the order of the plan.
    pub extents: Vec<Extent<'plan>>,
}

/// A run of bytes of a file, and where they belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent<'plan> {
    /// Where in the image, in bytes; a whole number of blocks.
    pub offset: u64,
    /// Where in the file, in bytes; a whole number of blocks.
    pub source_offset: u64,
    /// How many bytes; the rest of the last block is zero.
    pub length: u64,
    /// The file.
    pub content: &'plan Content,
}

/// Lays out `plan`.  Fails if the plan breaks its contract, or does not fit.
pub fn layout<'plan>(plan: &'plan Plan, options: &Options) -> Result<Layout<'plan>> {
    let needed = needed(plan);
    let size = options.size.unwrap_or_else(|| {
        // Room for the guest to write in, as there is in an image of the
        // usual size.
        DEFAULT_SIZE.max(needed.saturating_add(needed / 4 + (1 << 30)))
    });
    let full = || {
        Error::input(format!(
            "the root file system of {size} bytes is too small: about {needed} bytes are needed"
        ))
        .hint("give a larger size, or exclude paths")
    };
    let inodes = plan.entries.len() as u64 + u64::from(FIRST_INODE);
    let geometry = Geometry::new(size, inodes).ok_or_else(full)?;
    let mut builder = Builder {
        allocator: Allocator::new(geometry),
        metadata: BTreeMap::new(),
        extents: Vec::new(),
        inodes: BTreeMap::new(),
        numbers: HashMap::new(),
        directories: BTreeMap::new(),
        next: FIRST_INODE,
    };
    builder.number(plan)?;
    for entry in &plan.entries {
        builder.place(entry)?.ok_or_else(full)?;
    }
    builder.place_directories().ok_or_else(full)?;
    Ok(builder.finish(options))
}

/// A generous estimate of the bytes that `plan` takes up.
fn needed(plan: &Plan) -> u64 {
    let each = plan.entries.iter().map(|entry| match &entry.node {
        // Block maps take less than 1/512.
        Node::File(content) => {
            let size = content.size().saturating_add(content.size() / 512);
            size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
        }
        Node::Directory => BLOCK,
        _ => 512,
    });
    // Sparse files can claim more than there are bytes in the world.
    let data = each.fold(0, u64::saturating_add);
    data.saturating_add(data / 64 + (4 << 20))
}

struct Builder<'plan> {
    allocator: Allocator,
    metadata: BTreeMap<u32, Vec<u8>>,
    extents: Vec<Extent<'plan>>,
    inodes: BTreeMap<u32, Inode>,
    numbers: HashMap<&'plan Path, u32>,
    directories: BTreeMap<u32, Directory>,
    next: u32,
}

impl<'plan> Builder<'plan> {
    /// Gives every entry its inode and enters it in its directory.
    fn number(&mut self, plan: &'plan Plan) -> Result<()> {
        let lost_and_found = Path::new("/lost+found");
        let own = !plan
            .entries
            .iter()
            .any(|entry| entry.path == lost_and_found);
        if own {
            self.next += 1;
        }
        for entry in &plan.entries {
            let broken = |what: &str| {
                Error::input(format!(
                    "the plan is broken: `{}` {what}",
                    entry.path.display()
                ))
            };
            let inode = match &entry.node {
                _ if entry.path == Path::new("/") => ROOT_INODE,
                Node::HardLink(target) => *self
                    .numbers
                    .get(target.as_path())
                    .ok_or_else(|| broken("is a hard link to what is not there"))?,
                _ => {
                    self.next += 1;
                    self.next - 1
                }
            };
            if self.numbers.insert(&entry.path, inode).is_some() {
                return Err(broken("is there twice"));
            }
            let mut parent = ROOT_INODE;
            if let (Some(above), Some(name)) = (entry.path.parent(), entry.path.file_name()) {
                parent = *self
                    .numbers
                    .get(above)
                    .filter(|number| self.directories.contains_key(number))
                    .ok_or_else(|| broken("has no parent directory before it"))?;
                if name.len() > 255 {
                    return Err(Error::input(format!(
                        "the name of `{}` is longer than 255 bytes",
                        entry.path.display()
                    ))
                    .hint("exclude it"));
                }
                if let Some(directory) = self.directories.get_mut(&parent) {
                    directory.add(name.as_bytes(), inode, FileType::of(&entry.node));
                }
            }
            match self.inodes.get_mut(&inode) {
                Some(linked) => linked.links += 1,
                None => {
                    self.inodes.insert(inode, Inode::of(entry));
                }
            }
            if entry.node == Node::Directory {
                self.enter_directory(inode, parent);
            }
        }
        if own {
            let entry = Entry {
                mode: 0o700,
                ..tree::directory(lost_and_found.into(), Origin::Generated)
            };
            self.inodes.insert(FIRST_INODE, Inode::of(&entry));
            if let Some(root) = self.directories.get_mut(&ROOT_INODE) {
                root.add(b"lost+found", FIRST_INODE, FileType::Directory);
            }
            self.enter_directory(FIRST_INODE, ROOT_INODE);
        }
        if self.inodes.values().any(|inode| inode.links > MAX_LINKS) {
            return Err(Error::input(format!(
                "a directory or file of the plan has more than {MAX_LINKS} subdirectories or names"
            ))
            .hint("exclude some"));
        }
        Ok(())
    }

    fn enter_directory(&mut self, inode: u32, parent: u32) {
        self.directories
            .insert(inode, Directory::new(inode, parent));
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.links = 2; // its name and its `.`
        }
        if inode != ROOT_INODE
            && let Some(parent) = self.inodes.get_mut(&parent)
        {
            parent.links += 1; // the `..` in it
        }
    }

    /// Gives an entry's content its blocks; `None` if there are too few.
    fn place(&mut self, entry: &'plan Entry) -> Result<Option<()>> {
        let number = self.numbers[entry.path.as_path()];
        match &entry.node {
            Node::File(content) => {
                if content.size() >= inode::MAX_SIZE {
                    return Err(Error::input(format!(
                        "`{}` of {} bytes is larger than ext2 can hold",
                        entry.path.display(),
                        content.size()
                    ))
                    .hint("exclude it"));
                }
                let Some(blocks) = self.map(number, content.size()) else {
                    return Ok(None);
                };
                let mut done = 0;
                for (start, count) in blocks {
                    let length = (u64::from(count) * BLOCK).min(content.size() - done);
                    self.extents.push(Extent {
                        offset: u64::from(start) * BLOCK,
                        source_offset: done,
                        length,
                        content,
                    });
                    done += length;
                }
                return self.attach_xattrs(entry, number);
            }
            Node::Symlink(target) => {
                let target = target.as_os_str().as_bytes();
                if target.len() >= BLOCK as usize {
                    return Err(Error::input(format!(
                        "the target of the symlink `{}` is longer than 4095 bytes",
                        entry.path.display()
                    ))
                    .hint("exclude it"));
                }
                if inode::is_fast(target) {
                    if let Some(inode) = self.inodes.get_mut(&number) {
                        inode.set_fast_symlink(target);
                    }
                } else {
                    return Ok(self.store(number, target));
                }
            }
            _ => {}
        }
        Ok(Some(()))
    }

    /// Gives a file its extended attributes; `None` if there is no block left.
    fn attach_xattrs(&mut self, entry: &Entry, number: u32) -> Result<Option<()>> {
        let encoded = xattr::encode(&entry.xattrs).ok_or_else(|| {
            Error::input(format!(
                "the extended attributes of `{}` are larger than ext2 can hold",
                entry.path.display()
            ))
            .hint("remove some, or exclude the file")
        })?;
        match (encoded, self.inodes.get_mut(&number)) {
            (Encoded::Inline(bytes), Some(inode)) => inode.set_inline_xattrs(bytes),
            (Encoded::Block(bytes), Some(inode)) => {
                let Some(runs) = self.allocator.allocate(1) else {
                    return Ok(None);
                };
                let (block, _) = runs[0];
                inode.set_xattr_block(block);
                self.metadata.insert(block, bytes);
            }
            _ => {}
        }
        Ok(Some(()))
    }

    /// Directories come last: their content is known only now.
    fn place_directories(&mut self) -> Option<()> {
        for (inode, directory) in std::mem::take(&mut self.directories) {
            self.store(inode, &directory.into_blocks())?;
        }
        Some(())
    }

    /// Puts `bytes` into blocks of metadata that become the content of `inode`.
    fn store(&mut self, inode: u32, bytes: &[u8]) -> Option<()> {
        let runs = self.map(inode, bytes.len() as u64)?;
        let blocks = runs
            .into_iter()
            .flat_map(|(start, count)| start..start + count);
        for (block, chunk) in blocks.zip(bytes.chunks(BLOCK as usize)) {
            let mut content = chunk.to_vec();
            content.resize(BLOCK as usize, 0);
            self.metadata.insert(block, content);
        }
        Some(())
    }

    /// Allocates `size` bytes for `inode`: runs of blocks (start, count).
    fn map(&mut self, inode: u32, size: u64) -> Option<Vec<(u32, u32)>> {
        let runs = self.allocator.allocate(size.div_ceil(BLOCK))?;
        let inode = self.inodes.get_mut(&inode)?;
        inode.size = size;
        let blocks: Vec<u32> = runs
            .iter()
            .flat_map(|&(start, count)| start..start + count)
            .collect();
        let maps = inode.map(&blocks, &mut self.allocator)?;
        self.metadata.extend(maps);
        Some(runs)
    }

    fn finish(mut self, options: &Options) -> Layout<'plan> {
        let geometry = self.allocator.geometry.clone();
        let directories = self.inodes.iter().filter(|(_, inode)| inode.is_directory());
        let mut counts = vec![(0u32, 0u16); geometry.groups as usize]; // inodes, directories
        for (number, _) in directories {
            counts[((number - 1) / geometry.inodes_per_group) as usize].1 += 1;
        }
        // Reserved inodes count as used.
        let used = (1..FIRST_INODE).chain(self.inodes.range(FIRST_INODE..).map(|(n, _)| *n));
        let mut bitmaps = vec![vec![0u8; BLOCK as usize]; geometry.groups as usize];
        for number in used {
            let (group, index) = (
                (number - 1) / geometry.inodes_per_group,
                (number - 1) % geometry.inodes_per_group,
            );
            bitmaps[group as usize][index as usize / 8] |= 1 << (index % 8);
            counts[group as usize].0 += 1;
        }
        for (number, inode) in &self.inodes {
            let (block, offset) = geometry.inode_position(*number);
            let table = self
                .metadata
                .entry(block)
                .or_insert_with(|| vec![0; BLOCK as usize]);
            inode.write(&mut table[offset..offset + inode::SIZE]);
        }
        for (group, mut bitmap) in bitmaps.into_iter().enumerate() {
            // Bits beyond the end of the table are set.
            for index in geometry.inodes_per_group as usize..bitmap.len() * 8 {
                bitmap[index / 8] |= 1 << (index % 8);
            }
            let places = geometry.group(group as u32);
            self.metadata.insert(places.inode_bitmap, bitmap);
            self.metadata
                .insert(places.block_bitmap, self.allocator.bitmap(group as u32));
        }
        superblock::write(&mut self.metadata, &self.allocator, &counts, options);
        Layout {
            size: u64::from(geometry.blocks) * BLOCK,
            metadata: self.metadata,
            extents: self.extents,
        }
    }
}
