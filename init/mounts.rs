//! Directories of the host, mounted before the appliance's own `/init` begins,
//! so that it needs no program for it.

use crate::sys::{self, CStr, Errno};
use crate::text::{self, Text};
use crate::{say_error, say};

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
