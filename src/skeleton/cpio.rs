//! Cpio archives as plain data: newc, crc and odc, and several of them in one
//! file, compressed or not, as the kernel reads an initramfs.
//!
//! Formats: <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>
//! and cpio(5).

use super::archive::{Member, normal, symlink};
use super::sniff::LIMIT;
use crate::compression::first_stream;
use crate::node::{Content, Node};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// What cpio archives start with, each with a header of its own.
const MAGICS: [&[u8; 6]; 3] = [b"070701", b"070702", b"070707"];

/// Whether `content` begins with a cpio archive that can be read.
pub(super) fn is_archive(content: &[u8]) -> bool {
    MAGICS.iter().any(|magic| content.starts_with(*magic))
}

/// The members of `content`: archives that follow each other, each as it is or
/// compressed, with zero bytes between them; `name` is for messages.
pub(super) fn unpack(name: &str, content: &[u8]) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut rest = content;
    let mut budget = LIMIT;
    loop {
        let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
        rest = &rest[zeros..];
        if rest.is_empty() {
            return Ok(members);
        }
        if let Some((plain, after)) = first_stream(name, rest, budget)? {
            if plain.iter().any(|&byte| byte != 0) && !is_archive(&plain) {
                return Err(damaged(name, "a compressed part of it is no archive"));
            }
            budget -= plain.len() as u64;
            members.extend(archives(name, &plain)?);
            rest = after;
        } else {
            rest = archive(name, rest, &mut members)?;
        }
    }
}

/// Plain archives that follow each other.
fn archives(name: &str, content: &[u8]) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut rest = content;
    while let Some(start) = rest.iter().position(|&byte| byte != 0) {
        rest = archive(name, &rest[start..], &mut members)?;
    }
    Ok(members)
}

/// Adds the members of the archive that `content` begins with; what follows it.
fn archive<'a>(name: &str, content: &'a [u8], members: &mut Vec<Member>) -> Result<&'a [u8]> {
    let mut rest = content;
    // Where the first name of a file with several names is among the members.
    let mut links: HashMap<[u64; 3], usize> = HashMap::new();
    // An archive that ends without its trailer is whole for the kernel too.
    while !rest.is_empty() {
        let header = Header::parse(name, rest)?;
        let Some(bytes) = header.slices(rest) else {
            return Err(damaged(name, "it ends in the middle of a member"));
        };
        rest = bytes.after;
        let Some((0, path)) = bytes.name.split_last() else {
            return Err(damaged(name, "a name in it has no end"));
        };
        if path == TRAILER {
            break;
        }
        header.check(name, path, bytes.data)?;
        let path = normal("cpio", name, path)?;
        let node = match header.mode & 0o170_000 {
            0o100_000 if header.links > 1 => match links.get(&header.inode) {
                None => {
                    links.insert(header.inode, members.len());
                    file(bytes.data)
                }
                // newc has the bytes at one of the names, odc at each.
                Some(&first) => {
                    if !bytes.data.is_empty() {
                        members[first].node = file(bytes.data);
                    }
                    Node::HardLink(members[first].path.clone())
                }
            },
            0o100_000 => file(bytes.data),
            0o040_000 => Node::Directory,
            0o120_000 => Node::Symlink(symlink("cpio", name, &path, bytes.data)?),
            0o020_000 => Node::CharDevice(header.device.0, header.device.1),
            0o060_000 => Node::BlockDevice(header.device.0, header.device.1),
            0o010_000 => Node::Fifo,
            0o140_000 => Node::Socket,
            _ => {
                let what = format!("`{}` in it is of no known type", path.display());
                return Err(damaged(name, &what));
            }
        };
        members.push(Member {
            path,
            node,
            mode: (header.mode & 0o7777) as u16,
            uid: header.uid,
            gid: header.gid,
            mtime: header.mtime,
        });
    }
    Ok(rest)
}

fn file(data: &[u8]) -> Node {
    Node::File(Content::Bytes(Arc::from(data)))
}

fn damaged(name: &str, what: &str) -> Error {
    Error::input(format!("the cpio archive `{name}` is damaged: {what}"))
        .hint("make it again, for example with `find . | cpio -o -H newc`")
}

/// The header of a member.
struct Header {
    /// Its own length, before the name.
    length: usize,
    /// Names and data are filled up with zeros to a multiple of this.
    unit: usize,
    /// Device (two numbers) and inode: names of one file share them.
    inode: [u64; 3],
    mode: u32,
    uid: u32,
    gid: u32,
    links: u64,
    mtime: i64,
    device: (u32, u32),
    name_size: usize,
    size: usize,
    /// The sum of all bytes, where the format has one.
    sum: Option<u32>,
}

/// The parts of a member.
struct Slices<'a> {
    /// With its NUL byte.
    name: &'a [u8],
    data: &'a [u8],
    after: &'a [u8],
}

impl Header {
    fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let cut = || damaged(name, "it ends in the middle of a header");
        let number = |at: usize, digits: usize, radix: u32| -> Result<u64> {
            let field = bytes.get(at..at + digits).ok_or_else(cut)?;
            std::str::from_utf8(field)
                .ok()
                .filter(|text| !text.starts_with('+'))
                .and_then(|text| u64::from_str_radix(text, radix).ok())
                .ok_or_else(|| damaged(name, "a number in a header is none"))
        };
        let magic = bytes.get(..6).ok_or_else(cut)?;
        if magic == b"070707" {
            let octal = |at, digits| number(at, digits, 8);
            let device = octal(42, 6)?;
            return Ok(Self {
                length: 76,
                unit: 1,
                inode: [0, octal(6, 6)?, octal(12, 6)?],
                mode: octal(18, 6)? as u32,
                uid: octal(24, 6)? as u32,
                gid: octal(30, 6)? as u32,
                links: octal(36, 6)?,
                device: ((device >> 8) as u32, (device & 0xff) as u32),
                mtime: octal(48, 11)?.cast_signed(), // 33 bits
                name_size: octal(59, 6)? as usize,
                size: octal(65, 11)? as usize,
                sum: None,
            });
        }
        if !is_archive(magic) {
            return Err(damaged(name, "something else follows a member"));
        }
        let hex = |field: usize| number(6 + 8 * field, 8, 16);
        Ok(Self {
            length: 110,
            unit: 4,
            inode: [hex(7)?, hex(8)?, hex(0)?],
            mode: hex(1)? as u32,
            uid: hex(2)? as u32,
            gid: hex(3)? as u32,
            links: hex(4)?,
            mtime: hex(5)?.cast_signed(),
            size: hex(6)? as usize,
            device: (hex(9)? as u32, hex(10)? as u32),
            name_size: hex(11)? as usize,
            sum: if magic == b"070702" {
                Some(hex(12)? as u32)
            } else {
                None
            },
        })
    }

    /// Cuts the member that `bytes` begins with; `None` if it is not whole.
    fn slices<'a>(&self, bytes: &'a [u8]) -> Option<Slices<'a>> {
        let name_end = self.length + self.name_size;
        let start = name_end.next_multiple_of(self.unit);
        let end = start + self.size;
        let data = bytes.get(start..end)?;
        Some(Slices {
            name: bytes.get(self.length..name_end)?,
            data,
            // The last member of an archive need not be filled up.
            after: bytes
                .get(end.next_multiple_of(self.unit)..)
                .unwrap_or_default(),
        })
    }

    /// Compares the sum of a member with what its header says; of a file with
    /// several names only the one with the bytes has a sum.
    fn check(&self, name: &str, path: &[u8], data: &[u8]) -> Result<()> {
        let regular = self.mode & 0o170_000 == 0o100_000;
        let sum = data
            .iter()
            .fold(0u32, |sum, &byte| sum.wrapping_add(byte.into()));
        match self.sum {
            Some(expected) if regular && !data.is_empty() && expected != sum => {
                let path = String::from_utf8_lossy(path);
                Err(damaged(name, &format!("the checksum of `{path}` is wrong")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use proptest::prelude::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::sync::LazyLock;

    /// What cpio(1) makes of a small tree in `format`, once for all tests.
    fn archived(format: &str) -> Option<Vec<u8>> {
        static MADE: LazyLock<[Option<Vec<u8>>; 3]> =
            LazyLock::new(|| ["newc", "crc", "odc"].map(archive_of_a_tree));
        let at = ["newc", "crc", "odc"].iter().position(|f| *f == format);
        MADE[at.unwrap()].clone()
    }

    fn archive_of_a_tree(format: &str) -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| files::write(dir.path().join(name), bytes).unwrap();
        files::create_dir_all(dir.path().join("etc/d")).unwrap();
        put("init", b"#!/bin/sh\n");
        put("etc/odd", b"123");
        put("etc/empty", b"");
        std::fs::hard_link(dir.path().join("etc/odd"), dir.path().join("zz")).unwrap();
        std::fs::hard_link(dir.path().join("etc/odd"), dir.path().join("aa")).unwrap();
        std::os::unix::fs::symlink("../init", dir.path().join("etc/link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let find = "LC_ALL=C; export LC_ALL; find . | sort | cpio --quiet -o -H";
        let output = Command::new("sh")
            .args(["-c", &format!("{find} {format}")])
            .current_dir(dir.path())
            .output()
            .ok()?;
        output.status.success().then_some(output.stdout)
    }

    #[test]
    fn what_cpio_writes_is_read() {
        for format in ["newc", "crc", "odc"] {
            let Some(bytes) = archived(format) else {
                return; // there is no cpio here
            };
            let members = unpack("x", &bytes).unwrap();
            let node = |path: &str| {
                let found = members.iter().find(|m| m.path == Path::new(path));
                found.unwrap_or_else(|| panic!("{path}")).node.clone()
            };
            assert_eq!(node("/"), Node::Directory);
            assert_eq!(node("/etc/d"), Node::Directory);
            assert_eq!(node("/init"), file(b"#!/bin/sh\n"));
            assert_eq!(node("/etc/empty"), file(b""));
            assert_eq!(node("/etc/link"), Node::Symlink("../init".into()));
            assert_eq!(node("/pipe"), Node::Fifo);
            // GNU cpio holds the names without bytes back in newc and crc.
            let mut names = [node("/aa"), node("/etc/odd"), node("/zz")];
            names.sort_by_key(|node| matches!(node, Node::HardLink(_)));
            assert_eq!(names[0], file(b"123"), "{format}");
            assert!(matches!(names[1], Node::HardLink(_)) && names[1] == names[2]);
            assert_eq!(members.len(), 10);
            let uid = rustix::process::getuid().as_raw();
            assert!(members.iter().all(|member| member.uid == uid));
        }
    }

    #[test]
    fn archives_add_up_compressed_or_not() {
        let one = |name: &str| {
            let mut bytes = header(name, 0o100_644, 1).into_bytes();
            bytes.extend(name.bytes().chain([0]));
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend([b'x', 0, 0, 0]);
            bytes.extend(header("TRAILER!!!", 0, 0).bytes());
            bytes.extend(b"TRAILER!!!\0");
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes
        };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&one("b")).unwrap();
        gzip.write_all(&one("c")).unwrap();
        let mut all = one("a");
        all.extend(gzip.finish().unwrap());
        all.extend([0, 0, 0]);
        all.extend(zstd::encode_all(&one("d")[..], 1).unwrap());
        all.extend(one("e"));
        let names: String = unpack("x", &all)
            .unwrap()
            .iter()
            .map(|member| member.path.display().to_string())
            .collect();
        assert_eq!(names, "/a/b/c/d/e");
    }

    fn header(name: &str, mode: u32, size: usize) -> String {
        let fields = [1, mode, 0, 0, 1, 0, size as u32, 0, 0, 0, 0];
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        format!("070701{fields}{:08x}{:08x}", name.len() + 1, 0)
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bad = |name: &str, more: &[u8]| {
            let mut bytes = header(name, 0o100_644, 0).into_bytes();
            bytes.extend(name.bytes().chain(more.iter().copied()));
            unpack("base.img", &bytes).unwrap_err().to_string()
        };
        assert_eq!(
            bad("../evil", b"\0\0\0"),
            "the cpio archive `base.img` has a member `../evil`, which leaves its root"
        );
        assert!(bad("a", b"").contains("middle of a member"));
        assert!(bad("a", b"b").contains("a name in it has no end"));
        assert!(bad("a\0b", b"\0\0\0").contains("leaves its root"));
        assert!(bad("a", b"\0restless").contains("something else follows"));
        let Some(mut crc) = archived("crc") else {
            return;
        };
        let at = crc.windows(9).position(|bytes| bytes == b"#!/bin/sh");
        crc[at.unwrap()] = b'X';
        let error = unpack("x", &crc).unwrap_err().to_string();
        assert!(error.contains("the checksum of `init` is wrong"), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_archives_never_panic(
            format in prop_oneof![Just("newc"), Just("crc"), Just("odc")],
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>())
        {
            let Some(mut bytes) = archived(format) else { return Ok(()) };
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = unpack("x", &bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = unpack("x", &bytes);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for magic in MAGICS {
                let _ = unpack("x", &[&magic[..], &bytes[..]].concat());
            }
        }
    }

    #[test]
    fn owners_modes_and_times_are_those_of_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        files::write(&path, "x").unwrap();
        let meta = files::lstat(&path).unwrap();
        for format in ["newc", "odc"] {
            let output = Command::new("cpio")
                .args(["--quiet", "-o", "-H", format])
                .current_dir(dir.path())
                .stdin(Stdio::from(tempfile_with("f\n")))
                .output();
            let Ok(output) = output else { return };
            let member = unpack("x", &output.stdout).unwrap().remove(0);
            assert_eq!(u32::from(member.mode), meta.mode() & 0o7777);
            assert_eq!((member.gid, member.mtime), (meta.gid(), meta.mtime()));
        }
    }

    fn tempfile_with(text: &str) -> std::fs::File {
        use std::io::Seek;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }
}
