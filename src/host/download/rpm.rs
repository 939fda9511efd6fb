//! The payload of an RPM package.
//!
//! Sources: "RPM v4 Package format" in rpm's documentation, and the `newc`
//! format in cpio(5).  Of the header nothing is needed but its length, so this
//! is no matter for the `rpm` crate.

use super::{Pristine, open};
use crate::{Result, compression};
use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;

/// How every package begins.
pub(super) const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];

const LEAD: u64 = 96;
/// More than the longest path that Linux knows, in bytes.
const NAME_LIMIT: u32 = 1 << 16;
const HEADER: [u8; 4] = [0x8e, 0xad, 0xe8, 1];

/// The regular files at the paths in `wanted` that the package has.
pub(super) fn files(
    package: &Path,
    mut source: impl Read,
    wanted: &HashSet<&Path>,
) -> Result<Vec<Pristine>> {
    let damaged = |e| open::damaged(package, e);
    skip(&mut source, LEAD).map_err(damaged)?;
    // The signature is filled up to eight bytes, the header is not.
    let signature = header(&mut source).map_err(damaged)?;
    skip(&mut source, (8 - signature % 8) % 8).map_err(damaged)?;
    header(&mut source).map_err(damaged)?;

    let mut payload = compression::reader(&package.to_string_lossy(), source)?;
    let mut found = Vec::new();
    while let Some(member) = Member::read(&mut payload).map_err(damaged)? {
        let path = open::absolute(&member.name);
        // Of hard links only the last has the data.
        let regular =
            member.mode & 0o170_000 == 0o100_000 && (member.links == 1 || member.size > 0);
        let mut data = (&mut payload).take(member.size);
        if regular && wanted.contains(path.as_path()) {
            found.push(Pristine {
                mode: (member.mode & 0o7777) as u16,
                uid: member.uid,
                gid: member.gid,
                mtime: i64::from(member.mtime),
                content: open::content(package, &path, &mut data)?,
                path,
            });
        }
        let rest = data.limit() + (4 - member.size % 4) % 4;
        skip(&mut payload, rest).map_err(damaged)?;
    }
    Ok(found)
}

/// Passes over a header: its magic, two counts, an index of 16 bytes each, and
/// the data.  Returns its length.
fn header(source: &mut impl Read) -> io::Result<u64> {
    let mut start = [0; 16];
    source.read_exact(&mut start)?;
    if !start.starts_with(&HEADER) {
        return Err(invalid("there is no header where one should be"));
    }
    let count = |at: usize| {
        let bytes = start[at..].first_chunk::<4>().copied().unwrap_or_default();
        u64::from(u32::from_be_bytes(bytes))
    };
    let length = count(8) * 16 + count(12);
    skip(source, length)?;
    Ok(16 + length)
}

/// What stands before the data of a file in the payload.
struct Member {
    name: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    mtime: u32,
    size: u64,
}

impl Member {
    /// The next one; `None` at the end.
    fn read(source: &mut impl Read) -> io::Result<Option<Self>> {
        let mut fields = [0; 110];
        source.read_exact(&mut fields)?;
        if !fields.starts_with(b"07070") || !matches!(fields[5], b'1' | b'2') {
            return Err(invalid(
                "its payload is in a format that is not known (or compressed with bzip2 or lzma)",
            ));
        }
        let field = |number: usize| {
            let digits = &fields[6 + 8 * number..14 + 8 * number];
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            u32::from_str_radix(digits, 16).map_err(|_| invalid("a number in its payload is none"))
        };
        let length = field(11)?;
        if length > NAME_LIMIT {
            return Err(invalid("a name in its payload is too long"));
        }
        let mut name = Vec::new();
        source.take(u64::from(length)).read_to_end(&mut name)?;
        skip(source, (4 - (110 + u64::from(length)) % 4) % 4)?;
        name.pop(); // the zero that ends it
        Ok((name != b"TRAILER!!!").then_some(Self {
            name,
            mode: field(1)?,
            uid: field(2)?,
            gid: field(3)?,
            links: field(4)?,
            mtime: field(5)?,
            size: u64::from(field(6)?),
        }))
    }
}

fn skip(source: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut source.take(length), &mut io::sink())?;
    if skipped < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
