//! Tar archives as plain data.

use super::sniff::LIMIT;
use crate::node::{Content, Node};
use crate::{Error, Result};
use flate2::{Compression, GzBuilder};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tar::EntryType;

/// One member of a tar archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Absolute and normal: `./etc/issue` in the archive is `/etc/issue` here.
    pub path: PathBuf,
    /// What it is; the content of a file is in memory.
    pub node: Node,
    /// Permission bits, at most 0o7777.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time, in seconds since 1970.
    pub mtime: i64,
}

/// The members of `archive`, an uncompressed tar; `name` is for messages.
pub fn unpack(name: &str, archive: &[u8]) -> Result<Vec<Member>> {
    unpack_within(name, archive, LIMIT)
}

/// The same, with files of at most `limit` bytes in all: the holes of a sparse
/// one take no room in an archive, but they do here.
fn unpack_within(name: &str, archive: &[u8], limit: u64) -> Result<Vec<Member>> {
    let damaged = |e| {
        Error::io("cannot read the tar archive", name, e)
            .hint("it is damaged or cut off: make it again with `tar`")
    };
    let mut members = Vec::new();
    let mut room = limit;
    for entry in tar::Archive::new(archive).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = normal("tar", name, &entry.path_bytes())?;
        let header = entry.header();
        let device = |part: std::io::Result<Option<u32>>| Ok(part.map_err(damaged)?.unwrap_or(0));
        let node = match header.entry_type() {
            // Tar of Unix V7 has no type for a directory but the slash.
            EntryType::Regular if entry.path_bytes().ends_with(b"/") => Node::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.size();
                room = room.checked_sub(size).ok_or_else(|| {
                    Error::input(format!(
                        "the tar archive `{name}` is too large when unpacked: `{}` alone has {size} bytes",
                        path.display()
                    ))
                    .hint(format!(
                        "take large and sparse files out of it; all together may have {limit} bytes"
                    ))
                })?;
                if is_sparse(&mut entry).map_err(damaged)? {
                    return Err(Error::input(format!(
                        "the tar archive `{name}` has a sparse file, `{}`, in a form that cannot be read",
                        path.display()
                    ))
                    .hint("make the archive again with `tar --format=gnu`, or without `--sparse`"));
                }
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                Node::File(Content::Bytes(bytes.into()))
            }
            EntryType::Directory => Node::Directory,
            EntryType::Symlink => {
                let target = link_target(&entry);
                Node::Symlink(symlink("tar", name, &path, target.as_os_str().as_bytes())?)
            }
            EntryType::Link => Node::HardLink(normal(
                "tar",
                name,
                link_target(&entry).as_os_str().as_bytes(),
            )?),
            EntryType::Char => Node::CharDevice(
                device(header.device_major())?,
                device(header.device_minor())?,
            ),
            EntryType::Block => Node::BlockDevice(
                device(header.device_major())?,
                device(header.device_minor())?,
            ),
            EntryType::Fifo => Node::Fifo,
            // Comments and volume labels have nothing to unpack.
            _ => continue,
        };
        let header = entry.header();
        let number = |value: std::io::Result<u64>| {
            u32::try_from(value.map_err(damaged)?).map_err(|_| {
                Error::input(format!(
                    "`{}` in the tar archive `{name}` has an owner beyond 32 bits",
                    path.display()
                ))
                .hint("make the archive again with `tar --owner=0 --group=0`")
            })
        };
        members.push(Member {
            mode: (header.mode().map_err(damaged)? & 0o7777) as u16,
            uid: number(header.uid())?,
            gid: number(header.gid())?,
            mtime: i64::try_from(header.mtime().map_err(damaged)?).unwrap_or(i64::MAX),
            path,
            node,
        });
    }
    Ok(members)
}

/// Whether the member is sparse in one of the forms that pax headers describe,
/// which the tar crate takes for a file's content.
///
/// Source: <https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html>.
fn is_sparse<R: Read>(entry: &mut tar::Entry<'_, R>) -> std::io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(false);
    };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>) -> PathBuf {
    let bytes = entry.link_name_bytes().unwrap_or_default();
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// A member's name as an absolute path; one with `..` would leave the root.
pub(super) fn normal(format: &str, archive: &str, name: &[u8]) -> Result<PathBuf> {
    let mut path = PathBuf::from("/");
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) if !part.as_bytes().contains(&0) => path.push(part),
            Component::RootDir | Component::CurDir => {}
            _ => {
                return Err(Error::input(format!(
                    "the {format} archive `{archive}` has a member `{}`, which leaves its root",
                    String::from_utf8_lossy(name)
                ))
                .hint("make the archive again in the directory that is to be the root, as `tar -C DIRECTORY -cf … .`"));
            }
        }
    }
    Ok(path)
}

/// The target of a symlink, if there can be such a one.
pub(super) fn symlink(format: &str, archive: &str, path: &Path, target: &[u8]) -> Result<PathBuf> {
    if target.is_empty() || target.contains(&0) {
        return Err(Error::input(format!(
            "the symlink `{}` in the {format} archive `{archive}` leads to no possible path",
            path.display()
        ))
        .hint(format!("make the archive again with `{format}`")));
    }
    Ok(OsStr::from_bytes(target).into())
}

/// A gzip-compressed tar archive of `members`, in their order.
///
/// The same members give the same bytes: no names, times or systems but theirs
/// go in.  Names are relative (`etc/issue`), as tar(1) writes them.
pub fn pack(members: &[Member]) -> Result<Vec<u8>> {
    let cannot = |e| Error::io("cannot write the tar archive", "in memory", e);
    let encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(3) // Unix, wherever we run
        .write(Vec::new(), Compression::best());
    let mut builder = tar::Builder::new(encoder);
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(u32::from(member.mode));
        header.set_uid(u64::from(member.uid));
        header.set_gid(u64::from(member.gid));
        header.set_mtime(u64::try_from(member.mtime).unwrap_or(0));
        header.set_size(0);
        let path = member.path.strip_prefix("/").unwrap_or(&member.path);
        match &member.node {
            Node::File(Content::Bytes(bytes)) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(bytes.len() as u64);
                builder
                    .append_data(&mut header, path, &bytes[..])
                    .map_err(cannot)?;
            }
            Node::Directory => {
                header.set_entry_type(EntryType::Directory);
                builder
                    .append_data(&mut header, path.join(""), std::io::empty())
                    .map_err(cannot)?;
            }
            Node::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                builder
                    .append_link(&mut header, path, target)
                    .map_err(cannot)?;
            }
            _ => {
                return Err(Error::input(format!(
                    "`{}` cannot be put into a skeleton: it is no file, directory or symlink",
                    member.path.display()
                ))
                .hint("leave it out, and make it when the appliance boots"));
            }
        }
    }
    let encoder = builder.into_inner().map_err(cannot)?;
    let mut packed = encoder.finish().map_err(cannot)?;
    packed.flush().map_err(cannot)?;
    Ok(packed)
}

impl Member {
    /// A regular file of root.
    pub fn file(
        path: impl Into<PathBuf>,
        mode: u16,
        mtime: u32,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Self {
        Self::new(path, Node::File(Content::Bytes(bytes.into())), mode, mtime)
    }

    /// Anything of root.
    pub fn new(path: impl Into<PathBuf>, node: Node, mode: u16, mtime: u32) -> Self {
        Self {
            path: path.into(),
            node,
            mode,
            uid: 0,
            gid: 0,
            mtime: i64::from(mtime),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::decompress;
    use proptest::prelude::*;
    use std::process::Command;

    fn member() -> impl Strategy<Value = Member> {
        let path = proptest::collection::vec("[a-zA-Z0-9._ é-]{1,60}", 1..6)
            .prop_filter("no dots alone", |parts| {
                parts.iter().all(|part| part != "." && part != "..")
            })
            .prop_map(|parts| PathBuf::from("/").join(parts.join("/")));
        let node = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..600)
                .prop_map(|bytes| Node::File(Content::Bytes(bytes.into()))),
            Just(Node::Directory),
            "[a-z/.]{1,200}".prop_map(|target| Node::Symlink(target.into())),
        ];
        (path, node, 0..0o10000u16, any::<u32>())
            .prop_map(|(path, node, mode, mtime)| Member::new(path, node, mode, mtime))
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(members in proptest::collection::vec(member(), 0..12)) {
            let packed = pack(&members).unwrap();
            prop_assert_eq!(&packed, &pack(&members).unwrap());
            let plain = decompress("x", packed, 1 << 20).unwrap();
            prop_assert_eq!(unpack("x", &plain).unwrap(), members);
        }

        #[test]
        fn damaged_archives_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = unpack("x", &bytes);
        }
    }

    /// What GNU tar makes of the files that `script` makes; `None` without tar.
    fn archived(script: &str, options: &str) -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new("sh")
            .args(["-ec", &format!("{script}; tar {options} -Scf - *")])
            .current_dir(dir.path())
            .output()
            .unwrap();
        output.status.success().then_some(output.stdout)
    }

    #[test]
    fn sparse_files_are_read_if_they_are_not_too_large() {
        let small = "truncate -s 300K name; echo x >>name; truncate -s 1M name";
        let Some(archive) = archived(small, "--format=gnu") else {
            return;
        };
        assert!(archive.len() < 100 << 10);
        let members = unpack("x", &archive).unwrap();
        let mut expected = vec![0; 1 << 20];
        expected[300 << 10..][..2].copy_from_slice(b"x\n");
        assert_eq!(members[0].node, Node::File(Content::Bytes(expected.into())));

        let archive = archived("truncate -s 3T name", "--format=gnu").unwrap();
        assert!(archive.len() < 100 << 10);
        let error = unpack("x.tar", &archive).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the tar archive `x.tar` is too large when unpacked: `/name` alone has 3298534883328 bytes"
        );
        assert!(error.advice().is_some());
        // Together, not one by one.
        let archive = archived("truncate -s 1M a b c", "--format=gnu").unwrap();
        assert!(unpack_within("x", &archive, 3 << 20).is_ok());
        assert!(unpack_within("x", &archive, (3 << 20) - 1).is_err());

        for version in ["0.0", "0.1", "1.0"] {
            let options = format!("--format=posix --sparse-version={version}");
            let archive = archived(small, &options).unwrap();
            let error = unpack("x", &archive).unwrap_err().to_string();
            assert!(error.contains("has a sparse file, "), "{version}: {error}");
        }
    }

    #[test]
    fn a_member_that_climbs_out_is_refused() {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..7].copy_from_slice(b"../evil");
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, std::io::empty()).unwrap();
        let error = unpack("a.tar", &builder.into_inner().unwrap()).unwrap_err();
        assert!(error.to_string().contains("`../evil`"), "{error}");
        assert!(error.advice().is_some());
    }

    #[test]
    fn a_symlink_that_no_file_system_can_hold_is_refused() {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[0] = b'a';
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_cksum();
        let error = unpack("a.tar", header.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("symlink `/a`"), "{error}");
        let error = symlink("cpio", "b", Path::new("/l"), b"x\0y").unwrap_err();
        assert!(error.advice().is_some(), "{error}");
    }

    #[test]
    fn a_cut_archive_says_what_to_do() {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[0] = b'a';
        header.set_size(600);
        header.set_cksum();
        let error = unpack("a.tar", header.as_bytes()).unwrap_err();
        assert_eq!(
            error.advice(),
            Some("it is damaged or cut off: make it again with `tar`")
        );
    }
}
