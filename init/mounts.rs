//! Directories of the host, mounted before the appliance's own `/init` begins,
//! so that it needs no program for it.

use crate::sys::{self, CStr, Errno};
use crate::text::{self, Text};
use crate::{find_device, say, say_error};

/// What 9p wants to know.
const NINE_P: &CStr = c"trans=virtio,version=9p2000.L,msize=262144";

/// Mounts what words `freezedry.share=KIND:TAG:MODE:PATH` ask for.
pub fn shares(line: &[u8]) {
    for share in text::words(line).filter_map(|word| word.strip_prefix(b"freezedry.share=")) {
        let mut parts = share.splitn(4, |&byte| byte == b':');
        let mut next = || Text::of(&[parts.next().unwrap_or(b"")]);
        let (kind, tag, mode, path) = (next(), next(), next(), next());
        let path = path.as_cstr().to_bytes();
        let target = make(path);
        let flags = if mode.as_cstr() == c"rw" { 0 } else { sys::MS_RDONLY };
        let flags = flags | sys::MS_NOSUID | sys::MS_NODEV;
        let data = if kind.as_cstr() == c"9p" { NINE_P } else { c"" };
        if let Err(errno) = sys::mount_with(tag.as_cstr(), target.as_cstr(), kind.as_cstr(), flags, data) {
            failed(path, errno);
        }
    }
}

/// Mounts the directories that outlive the guest, which words
/// `freezedry.keep=SERIAL:PATH` name.
///
/// The file system stays where nobody in the guest sees it, in the initrd; what
/// is seen is its directory `/files`.
pub fn kept(line: &[u8]) {
    for (index, keep) in text::words(line).filter_map(|word| word.strip_prefix(b"freezedry.keep=")).enumerate() {
        let mut parts = keep.splitn(2, |&byte| byte == b':');
        let serial = Text::of(&[b"SERIAL=", parts.next().unwrap_or(b"")]);
        let path = parts.next().unwrap_or(b"");
        let device = find_device(Some(serial.as_cstr().to_bytes()));
        let mut digits = [0; 5];
        let own = Text::of(&[b"/kept", text::decimal(index as u16, &mut digits)]);
        sys::mkdir(own.as_cstr());
        let files = Text::of(&[own.as_cstr().to_bytes(), b"/files"]);
        let target = make(path);
        let mounted = sys::mount(device.as_cstr(), own.as_cstr(), c"ext4", sys::MS_NOATIME)
            .or_else(|_| sys::mount(device.as_cstr(), own.as_cstr(), c"ext2", sys::MS_NOATIME))
            .and_then(|_| sys::mount(files.as_cstr(), target.as_cstr(), c"", sys::MS_BIND));
        if let Err(errno) = mounted {
            failed(path, errno);
        }
    }
}

/// Makes the directory `path` of the new root, with those above it.
fn make(path: &[u8]) -> Text {
    for (at, _) in path.iter().enumerate().skip(1).filter(|&(_, &byte)| byte == b'/') {
        sys::mkdir(Text::of(&[b"/root", &path[..at]]).as_cstr());
    }
    let target = Text::of(&[b"/root", path]);
    sys::mkdir(target.as_cstr());
    target
}

/// Whoever asked for a directory must not work without it.
fn failed(path: &[u8], errno: Errno) -> ! {
    say_error(&[b"cannot mount ", path], errno);
    if errno == Errno(19) {
        say(&[b"hint: the kernel lacks the file system for it"]);
    }
    sys::power_off()
}
