//! Writing newc cpio archives, the format of an initrd.
//!
//! Format: <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>.

use super::sink::Source;
use crate::appliance::plan::Entry;
use crate::node::{Content, Node};
use crate::{Error, Result};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A newc archive in the making.
#[derive(Debug)]
pub struct Archive<W> {
    out: W,
    /// What it is called in messages.
    name: PathBuf,
    /// Bytes so far.
    length: u64,
    /// The last inode number that was given out.
    inode: u32,
}

/// What the header of a member says, beside its name and size.
#[derive(Debug, Clone, Copy, Default)]
struct Header {
    inode: u32,
    /// Type and permissions, as in `st_mode`.
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    mtime: u32,
    device: (u32, u32),
}

const FILE: u32 = 0o100_000;

impl<W: Write> Archive<W> {
    /// An empty archive; `name` is for messages.
    pub fn new(out: W, name: impl Into<PathBuf>) -> Self {
        Self {
            out,
            name: name.into(),
            length: 0,
            inode: 0,
        }
    }

    /// Adds a file of root without a time; `mode` with its type, as in `st_mode`.
    pub fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let header = Header {
            inode: self.next_inode(),
            mode,
            links: 1,
            ..Header::default()
        };
        self.bytes(name.as_bytes(), header, content)
    }

    /// Adds an archive as it is, compressed or not: the kernel reads one after
    /// the other, if each begins at a multiple of four.
    pub fn add_archive(&mut self, archive: &mut impl Read, path: &Path) -> Result<()> {
        let copied = io::copy(archive, &mut self.out)
            .map_err(|e| Error::io("cannot copy into the archive", path, e))?;
        self.length += copied;
        self.pad(4)
    }

    /// Adds the entries of a plan, but for `/` itself; names are relative.
    ///
    /// A hard link whose file is not among `entries` is an error.
    pub fn add_entries(&mut self, entries: &[&Entry]) -> Result<()> {
        let mut links: HashMap<&Path, u32> = HashMap::new();
        for entry in entries {
            if let Node::HardLink(target) = &entry.node {
                *links.entry(target).or_insert(1) += 1;
            }
        }
        let mut files: HashMap<&Path, Header> = HashMap::new();
        for entry in entries.iter().filter(|entry| entry.path != Path::new("/")) {
            let name = entry.path.strip_prefix("/").unwrap_or(&entry.path);
            let name = name.as_os_str().as_bytes();
            let kind = match &entry.node {
                Node::Directory => 0o040_000,
                Node::File(_) | Node::HardLink(_) => FILE,
                Node::Symlink(_) => 0o120_000,
                Node::CharDevice(..) => 0o020_000,
                Node::BlockDevice(..) => 0o060_000,
                Node::Fifo => 0o010_000,
                Node::Socket => 0o140_000,
            };
            let header = Header {
                inode: self.next_inode(),
                mode: kind | u32::from(entry.mode),
                uid: entry.uid,
                gid: entry.gid,
                links: links.get(entry.path.as_path()).copied().unwrap_or(1),
                // The format ends in 2106 and begins in 1970.
                mtime: u32::try_from(entry.mtime.max(0)).unwrap_or(u32::MAX),
                device: match entry.node {
                    Node::CharDevice(major, minor) | Node::BlockDevice(major, minor) => {
                        (major, minor)
                    }
                    _ => (0, 0),
                },
            };
            match &entry.node {
                Node::File(content) => {
                    files.insert(&entry.path, header);
                    self.content(name, header, content)?;
                }
                Node::HardLink(target) => {
                    let Some(header) = files.get(target.as_path()) else {
                        return Err(Error::input(format!(
                            "`{}` is a hard link to what is not in the archive",
                            entry.path.display()
                        )));
                    };
                    self.bytes(name, *header, b"")?;
                }
                Node::Symlink(target) => self.bytes(name, header, target.as_os_str().as_bytes())?,
                _ => self.bytes(name, header, b"")?,
            }
        }
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<W> {
        let header = Header {
            links: 1,
            ..Header::default()
        };
        self.bytes(b"TRAILER!!!", header, b"")?;
        self.pad(512)?;
        self.out.flush().map_err(|e| self.cannot(e))?;
        Ok(self.out)
    }

    fn next_inode(&mut self) -> u32 {
        self.inode += 1;
        self.inode
    }

    fn content(&mut self, name: &[u8], header: Header, content: &Content) -> Result<()> {
        let planned = match content {
            Content::Bytes(bytes) => return self.bytes(name, header, bytes),
            Content::Host(planned) => planned,
        };
        let source = Source::open(planned)?;
        self.header(name, header, planned.size)?;
        let copied = io::copy(&mut (&source.file).take(planned.size), &mut self.out)
            .map_err(|e| Error::io("cannot copy into the archive", &planned.path, e))?;
        source.finish()?;
        self.length += copied;
        self.pad(4)
    }

    fn bytes(&mut self, name: &[u8], header: Header, content: &[u8]) -> Result<()> {
        self.header(name, header, content.len() as u64)?;
        self.write(content)?;
        self.pad(4)
    }

    fn header(&mut self, name: &[u8], header: Header, size: u64) -> Result<()> {
        let size = u32::try_from(size).map_err(|e| {
            let name = String::from_utf8_lossy(name);
            Error::input(format!("`{name}` is too large for an initrd")).caused_by(e)
        })?;
        // The device and the checksum stay zero; a name counts its NUL byte.
        let fields = [
            header.inode,
            header.mode,
            header.uid,
            header.gid,
            header.links,
            header.mtime,
            size,
            0,
            0,
            header.device.0,
            header.device.1,
            name.len() as u32 + 1,
            0,
        ];
        let fields: String = fields.iter().map(|field| format!("{field:08X}")).collect();
        self.write(b"070701")?;
        self.write(fields.as_bytes())?;
        self.write(name)?;
        self.write(b"\0")?;
        self.pad(4)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| self.cannot(e))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, unit: u64) -> Result<()> {
        let missing = self.length.next_multiple_of(unit) - self.length;
        self.write(&[0; 512][..missing as usize])
    }

    fn cannot(&self, cause: io::Error) -> Error {
        Error::io("cannot write the archive", &self.name, cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::plan::Origin;
    use crate::files;
    use crate::node::HostFile;
    use proptest::prelude::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::process::{Command, Stdio};

    /// Unpacks with cpio(1); `None` where there is none.
    fn unpack(bytes: &[u8]) -> Option<tempfile::TempDir> {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("cpio")
            .args(["-i", "--quiet", "--preserve-modification-time"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .ok()?;
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        assert!(child.wait().unwrap().success());
        Some(dir)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// cpio(1) is the judge.
        #[test]
        fn cpio_reads_what_was_written(members in proptest::collection::btree_map(
            "[a-z][a-z0-9_-]{0,40}", proptest::collection::vec(any::<u8>(), 0..300), 0..8))
        {
            let mut archive = Archive::new(Vec::new(), "x");
            for (name, content) in &members {
                archive.add(name, 0o100_644, content).unwrap();
            }
            let bytes = archive.finish().unwrap();
            prop_assert_eq!(bytes.len() % 512, 0);
            let Some(dir) = unpack(&bytes) else { return Ok(()) };
            for (name, content) in &members {
                prop_assert_eq!(&files::read(dir.path().join(name)).unwrap(), content);
            }
            prop_assert_eq!(dir.path().read_dir().unwrap().count(), members.len());
        }
    }

    #[test]
    fn a_plan_with_links_of_both_kinds() {
        let source = tempfile::tempdir().unwrap();
        let path = source.path().join("f");
        files::write(&path, "hello").unwrap();
        let meta = files::lstat(&path).unwrap();
        let entry = |path: &str, node: Node| Entry {
            path: path.into(),
            node,
            mode: 0o750,
            uid: 0,
            gid: 0,
            mtime: 1_600_000_000,
            xattrs: Vec::new(),
            origin: Origin::Generated,
        };
        let plan = [
            entry("/", Node::Directory),
            entry("/d", Node::Directory),
            entry(
                "/d/f",
                Node::File(Content::Host(HostFile::new(&path, &meta))),
            ),
            entry("/d/s", Node::Symlink("f".into())),
            entry("/p", Node::Fifo),
            entry("/z", Node::HardLink("/d/f".into())),
        ];
        let mut archive = Archive::new(Vec::new(), "x");
        archive
            .add_entries(&plan.iter().collect::<Vec<_>>())
            .unwrap();
        let bytes = archive.finish().unwrap();
        let Some(dir) = unpack(&bytes) else { return };
        let at = |name: &str| dir.path().join(name);
        assert_eq!(files::read(at("z")).unwrap(), b"hello");
        let meta = files::lstat(at("d/f")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o750, 2));
        assert_eq!(meta.mtime(), 1_600_000_000);
        assert_eq!(at("d/s").read_link().unwrap(), Path::new("f"));
        assert!(files::lstat(at("p")).unwrap().file_type().is_fifo());

        let lonely = entry("/z", Node::HardLink("/elsewhere".into()));
        let error = Archive::new(Vec::new(), "x")
            .add_entries(&[&lonely])
            .unwrap_err();
        assert!(error.to_string().contains("`/z` is a hard link"), "{error}");
    }
}
