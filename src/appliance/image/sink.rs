//! Realising a layout as a file: sparse, sharing blocks with the host's files
//! where the file system can.

use super::ext2::{BLOCK, Extent, Layout};
use crate::node::Content;
use crate::{Error, Result, files};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes `layout` to the new file `path`; on an error nothing is left there.
///
/// A file of the host that is no longer as it was when the plan was made is an
/// error, never wrong bytes.
pub fn write(layout: &Layout<'_>, path: &Path) -> Result<()> {
    let image = files::create(path)?;
    let result = fill(&image, layout, path);
    if result.is_err() {
        drop(image);
        // The first error is the one to tell.
        let _ = std::fs::remove_file(path);
    }
    result
}

fn fill(image: &File, layout: &Layout<'_>, path: &Path) -> Result<()> {
    let cannot = |e: io::Error| Error::io("cannot write the image", path, e);
    require_space(image, layout, path)?;
    image.set_len(layout.size).map_err(cannot)?;
    for (block, bytes) in &layout.metadata {
        image
            .write_all_at(bytes, u64::from(*block) * BLOCK)
            .map_err(cannot)?;
    }
    // Two threads: copying is bound by memory and system calls, and more gain
    // little.
    let clones = AtomicBool::new(true);
    let half = layout.extents.len() / 2;
    let (first, second) = layout.extents.split_at(half);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| copy_all(image, second, &clones, path));
        let result = copy_all(image, first, &clones, path);
        let other = other
            .join()
            .unwrap_or_else(|_| Err(cannot(io::Error::other("a thread panicked"))));
        result.and(other)
    })
}

/// Fails early and clearly, rather than in the middle of a copy.
fn require_space(image: &File, layout: &Layout<'_>, path: &Path) -> Result<()> {
    let needed =
        layout.extents.iter().map(|e| e.length).sum::<u64>() + layout.metadata.len() as u64 * BLOCK;
    let space = rustix::fs::fstatvfs(image)
        .map_err(|e| Error::io("cannot examine the file system of", path, e))?;
    let free = space.f_bavail * space.f_frsize;
    // Where blocks can be shared far less may do; but that is known only later.
    if free >= needed {
        return Ok(());
    }
    Err(Error::host(format!(
        "not enough space for `{}`: {} MiB are needed, {} MiB are free",
        path.display(),
        needed >> 20,
        free >> 20
    ))
    .hint("free some, or use another directory"))
}

fn copy_all(image: &File, extents: &[Extent<'_>], clones: &AtomicBool, path: &Path) -> Result<()> {
    let mut open: Option<(&Content, File, bool)> = None;
    for extent in extents {
        let cannot = |e: io::Error| Error::io("cannot write the image", path, e);
        match extent.content {
            Content::Bytes(bytes) => {
                let start = extent.source_offset as usize;
                let part = &bytes[start..start + extent.length as usize];
                image.write_all_at(part, extent.offset).map_err(cannot)?;
            }
            Content::Host { path: source, size } => {
                // The extents of one file follow each other.
                if !matches!(&open, Some((content, ..)) if std::ptr::eq(*content, extent.content)) {
                    let (file, sparse) = open_source(source, *size)?;
                    open = Some((extent.content, file, sparse));
                }
                if let Some((_, file, sparse)) = &open {
                    copy(image, extent, file, *sparse, clones)
                        .map_err(|e| Error::io("cannot copy into the image", source, e))?;
                }
            }
        }
    }
    Ok(())
}

/// Opens a file of the host and makes sure that it is what the plan says.
pub(super) fn open_source(path: &Path, size: u64) -> Result<(File, bool)> {
    // Neither a symlink nor a FIFO that came in its place may lead us astray.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| Error::io("cannot open", path, e))?;
    let file = File::from(file);
    let meta = file
        .metadata()
        .map_err(|e| Error::io("cannot examine", path, e))?;
    if !meta.is_file() || meta.len() != size {
        return Err(Error::host(format!(
            "`{}` was changed while the appliance was made",
            path.display()
        ))
        .hint("wait until the package manager has finished, then try again"));
    }
    Ok((file, meta.blocks() * 512 < meta.len()))
}

pub(super) fn copy(
    image: &File,
    extent: &Extent<'_>,
    source: &File,
    sparse: bool,
    clones: &AtomicBool,
) -> io::Result<()> {
    let mut done = 0;
    let whole = extent.length / BLOCK * BLOCK;
    if whole > 0 && clones.load(Ordering::Relaxed) {
        match clone_range(image, extent.offset, source, extent.source_offset, whole) {
            Ok(()) => done = whole,
            // Another file system, or one that cannot: the same for all files
            // of a directory tree, mostly.
            Err(_) => clones.store(false, Ordering::Relaxed),
        }
    }
    let end = extent.source_offset + extent.length;
    let mut at = extent.source_offset + done;
    while at < end {
        let mut until = end;
        if sparse {
            // The image is full of holes already.
            match rustix::fs::seek(source, rustix::fs::SeekFrom::Data(at)) {
                Ok(data) => at = data.min(end),
                Err(rustix::io::Errno::NXIO) => break, // a hole up to the end
                Err(_) => {}
            }
            if let Ok(hole) = rustix::fs::seek(source, rustix::fs::SeekFrom::Hole(at)) {
                until = hole.clamp(at, end);
            }
        }
        copy_range(
            image,
            extent.offset + (at - extent.source_offset),
            source,
            at,
            until - at,
        )?;
        at = until;
    }
    Ok(())
}

fn copy_range(
    image: &File,
    mut to: u64,
    source: &File,
    mut from: u64,
    mut length: u64,
) -> io::Result<()> {
    let shrunk = || io::Error::other("it became shorter while it was copied; try again");
    while length > 0 {
        let count = usize::try_from(length).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(source, Some(&mut from), image, Some(&mut to), count) {
            Ok(0) => return Err(shrunk()),
            Ok(copied) => length -= copied as u64, // both offsets have moved
            // Across file systems, or from one that has no such call.
            Err(
                rustix::io::Errno::XDEV
                | rustix::io::Errno::INVAL
                | rustix::io::Errno::NOSYS
                | rustix::io::Errno::OPNOTSUPP
                | rustix::io::Errno::PERM,
            ) => break,
            Err(e) => return Err(e.into()),
        }
    }
    let mut buffer = vec![0; length.min(1 << 20) as usize];
    while length > 0 {
        let count = length.min(buffer.len() as u64) as usize;
        source
            .read_exact_at(&mut buffer[..count], from)
            .map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => shrunk(),
                _ => e,
            })?;
        image.write_all_at(&buffer[..count], to)?;
        from += count as u64;
        to += count as u64;
        length -= count as u64;
    }
    Ok(())
}

/// `struct file_clone_range` of `linux/fs.h`.
#[repr(C)]
struct CloneRange {
    source: i64,
    source_offset: u64,
    length: u64,
    offset: u64,
}

/// Shares `length` bytes, a whole number of blocks.
#[allow(unsafe_code)]
fn clone_range(
    image: &File,
    offset: u64,
    source: &File,
    source_offset: u64,
    length: u64,
) -> io::Result<()> {
    use rustix::ioctl::{Setter, ioctl, opcode};
    use std::os::fd::AsRawFd;
    const FICLONERANGE: rustix::ioctl::Opcode = opcode::write::<CloneRange>(0x94, 13);
    let range = CloneRange {
        source: source.as_raw_fd().into(),
        source_offset,
        length,
        offset,
    };
    // SAFETY: FICLONERANGE takes a pointer to a `struct file_clone_range`, which
    // `CloneRange` is, and only reads it.
    let setter = unsafe { Setter::<FICLONERANGE, CloneRange>::new(range) };
    // SAFETY: as above; both descriptors are open for the time of the call.
    unsafe { ioctl(image, setter) }?;
    Ok(())
}
