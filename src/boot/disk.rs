//! Disks that the user gives to the guest.

use crate::{Error, Result};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A disk beside the root disk: a file or a block device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where its bytes lie.
    pub path: PathBuf,
    /// Its device and inode.
    identity: (u64, u64),
    /// What they are.
    pub format: Format,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// How a disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Byte for byte.
    Raw,
    /// qemu's own format.
    Qcow2,
}

/// Bytes that show all that is looked at.
const HEADER: u64 = 104;

impl Disk {
    /// The disk that `FILE[:raw|:qcow2][:ro]` names; fails if it cannot be opened
    /// as asked.  Without a format, the file's first bytes tell.
    pub fn open(text: &Path) -> Result<Self> {
        let bytes = text.as_os_str().as_bytes();
        let (bytes, read_only) = match bytes.strip_suffix(b":ro") {
            Some(bytes) => (bytes, true),
            None => (bytes, false),
        };
        let (bytes, said) = match (bytes.strip_suffix(b":raw"), bytes.strip_suffix(b":qcow2")) {
            (Some(bytes), _) => (bytes, Some(Format::Raw)),
            (_, Some(bytes)) => (bytes, Some(Format::Qcow2)),
            _ => (bytes, None),
        };
        let path = PathBuf::from(OsString::from_vec(bytes.to_vec()));
        // qemu runs elsewhere later, when the guest is in the background.
        let path = path
            .canonicalize()
            .map_err(|e| Error::io("cannot open the disk", &path, e))?;
        let meta = path
            .metadata()
            .map_err(|e| Error::io("cannot open the disk", &path, e))?;
        let is_device = meta.file_type().is_block_device();
        if !meta.is_file() && !is_device {
            let what = if meta.is_dir() {
                "a directory"
            } else {
                "neither a file nor a block device"
            };
            return Err(
                Error::input(format!("the disk `{}` is {what}", path.display()))
                    .hint("`--share` gives directories to the guest"),
            );
        }
        let mut options = std::fs::File::options();
        options.read(true).write(!read_only);
        if is_device && !read_only {
            // Of a block device: not while this host has it mounted.
            options.custom_flags(libc::O_EXCL);
        }
        let file = options.open(&path).map_err(|e| {
            let busy = e.kind() == std::io::ErrorKind::ResourceBusy;
            let error = Error::io("cannot open the disk", &path, e);
            match (read_only, busy) {
                (true, _) => error,
                (_, true) => error.hint("this host uses it, as `lsblk` shows; unmount it first"),
                _ => error.hint("add `:ro` if reading it is enough"),
            }
        })?;
        let mut header = Vec::new();
        file.take(HEADER)
            .read_to_end(&mut header)
            .map_err(|e| Error::io("cannot read the disk", &path, e))?;
        let format = match said {
            Some(Format::Raw) => Format::Raw,
            _ => Format::of(&header).map_err(|Refused(what, cure)| {
                Error::input(format!("the disk `{}` {what}", path.display())).hint(cure)
            })?,
        };
        if said.is_some_and(|said| said != format) {
            return Err(
                Error::input(format!("the disk `{}` is not qcow2", path.display()))
                    .hint("leave `:qcow2` out"),
            );
        }
        Ok(Self {
            path,
            identity: (meta.dev(), meta.ino()),
            format,
            read_only,
        })
    }

    /// Whether both are the same file, by whatever names.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// qemu's arguments for it as the disk number `index`.
    pub(super) fn arguments(&self, index: usize) -> Vec<OsString> {
        let format = match self.format {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        };
        let read_only = if self.read_only { "on" } else { "off" };
        let id = format!("disk{index}");
        let drive = format!("if=none,id={id},format={format},readonly={read_only},file=");
        vec![
            "-drive".into(),
            with_path(&drive, &self.path),
            "-device".into(),
            format!("virtio-blk-pci,drive={id},serial={id}").into(),
        ]
    }
}

/// Why a disk is not used, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Refused(&'static str, &'static str);

/// How other formats begin, with their names.  As raw disks they would be
/// garbage to the guest, and broken by what it writes.
const OTHERS: [(&[u8], &str); 6] = [
    (b"KDMV", "is a VMware image (vmdk)"),
    (b"# Disk DescriptorFile", "is a VMware image (vmdk)"),
    (b"<<< ", "is a VirtualBox image (vdi)"),
    (b"conectix", "is a Virtual PC image (vhd)"),
    (b"vhdxfile", "is a Hyper-V image (vhdx)"),
    (b"QED\0", "is an image in the format qed"),
];

impl Format {
    /// The format of the disk that begins with `header`; `Err` says why it is
    /// not used: a disk that a guest has written to must not name other files.
    ///
    /// Source: docs/interop/qcow2.txt of qemu; all numbers are big-endian.
    fn of(header: &[u8]) -> Result<Self, Refused> {
        const WHOLE: &str = "that file would be opened with your rights whatever its name says; \
                             copy the disk into one whole: qemu-img convert -O qcow2 OLD NEW";
        const CONVERT: &str = "convert it: qemu-img convert -O qcow2 OLD NEW; or add `:raw` to \
                               give the guest its bytes as they are";
        if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| header.starts_with(magic)) {
            return Err(Refused(what, CONVERT));
        }
        if !header.starts_with(b"QFI\xfb") {
            return Ok(Self::Raw);
        }
        let number = |range| header.get(range).unwrap_or_default();
        if number(4..8) == [0, 0, 0, 1] {
            return Err(Refused("is an image in the format qcow 1", CONVERT));
        }
        if number(8..16).iter().any(|&byte| byte != 0) {
            return Err(Refused(
                "is an overlay: it names another file that the rest is in",
                WHOLE,
            ));
        }
        // Version 3 has bits for features that a reader must know.
        if number(4..8) != [0, 0, 0, 2] && number(72..80).last().is_some_and(|bits| bits & 4 != 0) {
            return Err(Refused("names another file that its data are in", WHOLE));
        }
        Ok(Self::Qcow2)
    }
}

/// `options` and a path as their last value; a comma in it is doubled.
pub(super) fn with_path(options: &str, path: &Path) -> OsString {
    let mut value = options.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        value.push(byte);
        if byte == b',' {
            value.push(b',');
        }
    }
    OsString::from_vec(value)
}

/// What qemu's complaint about a lock means, if it is one.
///
/// It says `file=PATH: Failed to get "write" lock`, or `shared "write" lock`, and
/// on the next line `Is another process using the image [PATH]?`.
pub(super) fn locked(said: &str) -> Option<Error> {
    if !said.contains("Failed to get ") || !said.contains("\" lock") {
        return None;
    }
    let image = said
        .split_once("using the image [")
        .and_then(|(_, rest)| rest.split_once("]?"))
        .map_or("a disk", |(image, _)| image);
    Some(
        Error::host(format!("the disk `{image}` is in use by another guest"))
            .hint("end that guest first, or open the disk in both with `:ro`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use proptest::prelude::*;
    use std::process::Command;

    fn header(disk: &Path) -> Result<Format, Refused> {
        let bytes = files::read(disk).unwrap();
        Format::of(&bytes[..bytes.len().min(HEADER as usize)])
    }

    /// qemu-img makes what we have to tell apart.
    #[test]
    fn formats_as_qemu_img_makes_them() {
        let dir = tempfile::tempdir().unwrap();
        let create = |arguments: &[&str]| {
            let mut qemu_img = Command::new("qemu-img");
            qemu_img.args(["create", "-q"]).args(arguments);
            qemu_img
                .current_dir(dir.path())
                .status()
                .is_ok_and(|status| status.success())
        };
        if !create(&["-f", "raw", "raw", "1M"]) {
            return;
        }
        assert!(create(&["-f", "qcow2", "qcow2", "1M"]));
        assert!(create(&[
            "-f",
            "qcow2",
            "-o",
            "compat=0.10",
            "old.qcow2",
            "1M"
        ]));
        assert!(create(&[
            "-f", "qcow2", "-b", "raw", "-F", "raw", "overlay"
        ]));
        assert!(create(&[
            "-f",
            "qcow2",
            "-o",
            "data_file=data",
            "split",
            "1M"
        ]));
        let of = |name: &str| header(&dir.path().join(name));
        assert_eq!(of("raw"), Ok(Format::Raw));
        assert_eq!(of("qcow2"), Ok(Format::Qcow2));
        assert_eq!(of("old.qcow2"), Ok(Format::Qcow2));
        assert!(of("overlay").unwrap_err().0.contains("overlay"));
        assert!(of("split").unwrap_err().0.contains("data"));
        for format in ["vmdk", "vdi", "vpc", "vhdx", "qed", "qcow"] {
            assert!(create(&["-f", format, format, "1M"]));
            assert!(of(format).unwrap_err().1.contains("convert"), "{format}");
        }
        let open = |name: &str| Disk::open(&dir.path().join(name));
        assert_eq!(open("qcow2:raw").unwrap().format, Format::Raw);
        assert!(open("vdi:raw:ro").unwrap().read_only);
        assert!(
            open("raw:qcow2")
                .unwrap_err()
                .to_string()
                .contains("is not qcow2")
        );
        let refused = Disk::open(&dir.path().join("overlay:ro")).unwrap_err();
        assert!(refused.to_string().contains("is an overlay"), "{refused}");
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(header in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Format::of(&header);
            let _ = Format::of(&[b"QFI\xfb".to_vec(), header].concat());
        }
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(with_path("file=", Path::new("/a,b")), "file=/a,,b");
    }

    #[test]
    fn a_lock_is_recognised() {
        let said = "qemu-system-x86_64: -drive file=/a b: Failed to get \"write\" lock\n\
                    Is another process using the image [/a b]?";
        let error = locked(said).unwrap().to_string();
        assert_eq!(error, "the disk `/a b` is in use by another guest");
        let shared = said.replace("get \"", "get shared \"");
        assert_eq!(locked(&shared).unwrap().to_string(), error);
        assert!(locked("qemu-system-x86_64: no memory").is_none());
    }
}
