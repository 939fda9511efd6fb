//! Realising a layout as a file: sparse, sharing blocks with the host's files
//! where the file system can.

use super::ext2::{BLOCK, Extent, Layout};
use crate::node::{Content, HostFile};
use crate::{Error, Result, files};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{File, Metadata};
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
    let mut open: Option<(&Content, Source<'_>)> = None;
    for extent in extents {
        let cannot = |e: io::Error| Error::io("cannot write the image", path, e);
        match extent.content {
            Content::Bytes(bytes) => {
                let start = extent.source_offset as usize;
                let part = &bytes[start..start + extent.length as usize];
                image.write_all_at(part, extent.offset).map_err(cannot)?;
            }
            Content::Host(planned) => {
                // The extents of one file follow each other.
                let source = match open.take() {
                    Some((content, source)) if std::ptr::eq(content, extent.content) => source,
                    before => {
                        before.map_or(Ok(()), |(_, source)| source.finish())?;
                        Source::open(planned)?
                    }
                };
                copy(image, extent, &source, clones)
                    .map_err(|e| Error::io("cannot copy into the image", &planned.path, e))?;
                open = Some((extent.content, source));
            }
        }
    }
    open.map_or(Ok(()), |(_, source)| source.finish())
}

/// A file of the host that is read.
#[derive(Debug)]
pub(super) struct Source<'a> {
    planned: &'a HostFile,
    /// What it was when it was opened.
    opened: HostFile,
    pub(super) file: File,
    sparse: bool,
}

impl<'a> Source<'a> {
    /// Opens a file of the host and makes sure that it is the one of the plan.
    pub(super) fn open(planned: &'a HostFile) -> Result<Self> {
        // Neither a symlink nor a FIFO that came in its place may lead us astray.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = &planned.path;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
            Errno::NOENT | Errno::NOTDIR => changed(planned, "was removed"),
            Errno::LOOP => changed(planned, "became a symlink"),
            e => Error::io("cannot open", path, e),
        })?;
        let file = File::from(file);
        let meta = examine(planned, &file)?;
        Ok(Self {
            planned,
            opened: HostFile::new(path, &meta),
            file,
            sparse: meta.blocks() * 512 < meta.len(),
        })
    }

    /// To be called when all is read: makes sure that nobody wrote to the file
    /// in the meantime, so that what was read is of one version.
    pub(super) fn finish(self) -> Result<()> {
        let now = HostFile::new(&self.planned.path, &examine(self.planned, &self.file)?);
        if now == self.opened {
            return Ok(());
        }
        Err(changed(self.planned, "was written to or replaced"))
    }
}

/// What `file` is now; an error unless it is still the one of the plan.
fn examine(planned: &HostFile, file: &File) -> Result<Metadata> {
    let meta = file
        .metadata()
        .map_err(|e| Error::io("cannot examine", &planned.path, e))?;
    match planned.difference(&meta) {
        Some(what) => Err(changed(planned, &what)),
        None => Ok(meta),
    }
}

fn changed(planned: &HostFile, what: &str) -> Error {
    Error::host(format!(
        "`{}` {what} while the appliance was made",
        planned.path.display()
    ))
    .hint("wait until the package manager or whoever else changes it has finished, then run this again")
}

pub(super) fn copy(
    image: &File,
    extent: &Extent<'_>,
    from: &Source<'_>,
    clones: &AtomicBool,
) -> io::Result<()> {
    let source = &from.file;
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
        if from.sparse {
            // The image is full of holes already.
            match rustix::fs::seek(source, rustix::fs::SeekFrom::Data(at)) {
                Ok(data) => at = data.min(end),
                Err(Errno::NXIO) => break, // a hole up to the end
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
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                break;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    /// What is read must be of one version, from the first byte to the last.
    #[test]
    fn a_write_between_opening_and_the_end_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        files::write(&path, "one").unwrap();
        let now = || HostFile::new(&path, &files::lstat(&path).unwrap());
        let planned = now();
        // Two writes within one tick of the clock have the same time.
        let overwrite = || {
            let before = now();
            while now() == before {
                files::write(&path, "two").unwrap();
            }
        };
        // Before it is opened: what is there is read.
        overwrite();
        Source::open(&planned).unwrap().finish().unwrap();
        let source = Source::open(&planned).unwrap();
        overwrite();
        let error = source.finish().unwrap_err().to_string();
        assert!(error.contains("was written to"), "{error}");
        let source = Source::open(&planned).unwrap();
        files::write(dir.path().join("new"), "two").unwrap();
        files::rename(dir.path().join("new"), &path).unwrap();
        assert!(source.finish().is_err());
    }
}
