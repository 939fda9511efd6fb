//! What an ELF file asks of the loader: its interpreter and its libraries.
//!
//! Source: elf(5), <https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html>.
//!
//! This is own code rather than a crate: it is one table of offsets, and it
//! reads four small pieces of a file where crates want all of its bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Which loader can load it: class (32 or 64 bits), byte order, machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) wide: bool,
    pub(super) big: bool,
    /// `e_machine`.
    pub(super) machine: u16,
}

/// What an ELF file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elf {
    pub(super) kind: Kind,
    pub(super) interpreter: Option<PathBuf>,
    pub(super) needed: Vec<String>,
    /// Directories to search, as they are written, from `DT_RUNPATH`.
    pub(super) runpath: Vec<String>,
    /// The same from `DT_RPATH`, which holds only without `DT_RUNPATH`.
    pub(super) rpath: Vec<String>,
}

/// Reads `length` bytes at `offset`, or fewer at the end of the file.
pub(super) type Read<'a> = &'a dyn Fn(u64, usize) -> Option<Vec<u8>>;

/// More than any real file has of headers, dynamic entries and names; a damaged
/// one must not make us read gigabytes.
const MOST: usize = 1 << 20;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// The class of the ELF file that starts with `head`; `None` for anything else.
pub(super) fn kind(head: &[u8]) -> Option<Kind> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let wide = match head.get(4)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let big = *head.get(5)? == 2;
    let machine = number(head, 18, 2, big)?;
    Some(Kind {
        wide,
        big,
        machine: u16::try_from(machine).ok()?,
    })
}

/// What the ELF file behind `read` asks for; `None` if it is none, or damaged.
pub(super) fn parse(read: Read<'_>) -> Option<Elf> {
    let head = read(0, 64)?;
    let kind = kind(&head)?;
    let segments = segments(&head, kind, read)?;
    let mut elf = Elf {
        kind,
        interpreter: None,
        needed: Vec::new(),
        runpath: Vec::new(),
        rpath: Vec::new(),
    };
    let bytes = |segment: &Segment| {
        let size = usize::try_from(segment.size).ok()?;
        read(segment.offset, size.min(MOST))
    };
    let find = |wanted| segments.iter().find(|segment| segment.kind == wanted);
    if let Some(segment) = find(PT_INTERP) {
        let path = bytes(segment)?;
        let path = path.split(|byte| *byte == 0).next()?;
        elf.interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
    }
    let Some(dynamic) = find(PT_DYNAMIC) else {
        return Some(elf); // linked statically
    };
    let word = if kind.wide { 8 } else { 4 };
    let entries: Vec<(u64, u64)> = bytes(dynamic)?
        .chunks_exact(2 * word)
        .filter_map(|entry| {
            let tag = number(entry, 0, word, kind.big)?;
            Some((tag, number(entry, word, word, kind.big)?))
        })
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let value = |wanted| {
        entries
            .iter()
            .find(|(tag, _)| *tag == wanted)
            .map(|(_, value)| *value)
    };
    let Some(address) = value(DT_STRTAB) else {
        return Some(elf);
    };
    // The table's address is one in memory; the segment there says where it
    // lies in the file.
    let home = segments.iter().find(|segment| {
        segment.kind == PT_LOAD
            && address
                .checked_sub(segment.address)
                .is_some_and(|inside| inside < segment.size)
    })?;
    let offset = home.offset.checked_add(address - home.address)?;
    let size = usize::try_from(value(DT_STRSZ)?).ok()?;
    let names = read(offset, size.min(MOST))?;
    let text = |at: u64| {
        let rest = names.get(usize::try_from(at).ok()?..)?;
        let name = rest.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(name).into_owned())
    };
    let directories = |at| -> Vec<String> {
        let list = text(at).unwrap_or_default();
        list.split(':').map(str::to_owned).collect()
    };
    for (tag, value) in &entries {
        match *tag {
            DT_NEEDED => elf.needed.extend(text(*value)),
            DT_RPATH => elf.rpath = directories(*value),
            DT_RUNPATH => elf.runpath = directories(*value),
            _ => {}
        }
    }
    Some(elf)
}

fn segments(head: &[u8], kind: Kind, read: Read<'_>) -> Option<Vec<Segment>> {
    // Where the fields lie: e_phoff, e_phentsize, e_phnum; then in each
    // program header p_offset, p_vaddr, p_filesz.
    let (table, size, count, word, fields) = if kind.wide {
        (0x20, 0x36, 0x38, 8, [8, 16, 32])
    } else {
        (0x1c, 0x2a, 0x2c, 4, [4, 8, 16])
    };
    let offset = number(head, table, word, kind.big)?;
    let each = usize::try_from(number(head, size, 2, kind.big)?).ok()?;
    let count = usize::try_from(number(head, count, 2, kind.big)?).ok()?;
    if each == 0 {
        return Some(Vec::new()); // an object file
    }
    let bytes = read(offset, (each * count).min(MOST))?;
    let segment = |header: &[u8]| {
        let field = |at| number(header, at, word, kind.big);
        Some(Segment {
            kind: u32::try_from(number(header, 0, 4, kind.big)?).ok()?,
            offset: field(fields[0])?,
            address: field(fields[1])?,
            size: field(fields[2])?,
        })
    };
    bytes.chunks_exact(each).map(segment).collect()
}

/// The unsigned number in the `length` bytes at `at`.
fn number(bytes: &[u8], at: usize, length: usize, big: bool) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(if big {
        bytes.iter().fold(0, join)
    } else {
        bytes.iter().rev().fold(0, join)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::process::Command;
    use std::sync::LazyLock;

    static SHELL: LazyLock<Vec<u8>> = LazyLock::new(|| files::read("/bin/sh").unwrap());

    fn of(bytes: &[u8]) -> Option<Elf> {
        parse(&|offset, length| {
            let start = usize::try_from(offset).ok()?.min(bytes.len());
            let end = start.saturating_add(length).min(bytes.len());
            Some(bytes[start..end].to_vec())
        })
    }

    /// readelf is the judge, over everything executable in /usr/bin.
    #[test]
    fn as_readelf_sees_it() {
        if Command::new("readelf").arg("--version").output().is_err() {
            return;
        }
        let mut seen = 0;
        for path in std::fs::read_dir("/usr/bin")
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
        {
            let Ok(bytes) = files::read(&path) else {
                continue;
            };
            let Some(elf) = of(&bytes) else { continue };
            let output = Command::new("readelf")
                .args(["-Wld"])
                .arg(&path)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let between = |line: &str| Some(line.split_once('[')?.1.rsplit_once(']')?.0.to_owned());
            let all = |tag: &str| -> BTreeSet<String> {
                text.lines()
                    .filter(|line| line.contains(tag))
                    .filter_map(between)
                    .collect()
            };
            assert_eq!(
                elf.needed.iter().cloned().collect::<BTreeSet<_>>(),
                all("(NEEDED)"),
                "{path:?}"
            );
            assert_eq!(
                elf.runpath.join(":"),
                all("(RUNPATH)").into_iter().collect::<String>(),
                "{path:?}"
            );
            let interpreter = text.lines().find_map(|line| {
                let (_, rest) = line.split_once("[Requesting program interpreter: ")?;
                rest.strip_suffix(']')
            });
            assert_eq!(
                elf.interpreter.as_deref(),
                interpreter.map(Path::new),
                "{path:?}"
            );
            seen += 1;
            if seen == 60 {
                break;
            }
        }
        assert!(seen > 0);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..4096, with in any::<[u8; 8]>(), length in 0usize..200_000) {
            let mut bytes = SHELL.clone();
            bytes.truncate(length.max(at + 8));
            if bytes.len() >= at + 8 {
                bytes[at..at + 8].copy_from_slice(&with);
            }
            let _ = of(&bytes);
        }

        #[test]
        fn garbage_never_panics(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = of(&[b"\x7fELF\x02\x01".as_slice(), &tail].concat());
            let _ = of(&[b"\x7fELF\x01\x02".as_slice(), &tail].concat());
        }
    }
}
