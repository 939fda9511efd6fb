//! Where the parts of an RPM package lie, and whether they hold together.
//!
//! The RPM library trusts the offsets and sizes in a header; here they are
//! checked before it sees them, with the limits that rpm itself has.
//! Format: <https://rpm-software-management.github.io/rpm/manual/format_v4.html>.

use super::damaged;
use crate::Result;
use std::ops::Range;

/// How an RPM package begins.
pub(super) const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];

const LEAD: usize = 96;
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 1];
const ENTRY: usize = 16;
/// rpm's own limits: entries and bytes of data of a header.
const MOST_ENTRIES: usize = 0xffff;
const MOST_DATA: usize = 0x0fff_ffff;

/// The parts of a package, as ranges of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frames {
    /// The signature header, without its padding.
    pub(crate) signature: Range<usize>,
    /// The header: what is signed.
    pub(crate) header: Range<usize>,
    /// The payload.
    pub(crate) payload: Range<usize>,
}

/// Finds the parts of `package`, whose name is for messages.
pub(crate) fn frames(name: &str, package: &[u8]) -> Result<Frames> {
    if package.len() < LEAD || !package.starts_with(&LEAD_MAGIC) {
        return Err(damaged(name, "byte 0", "the lead is cut off"));
    }
    let signature = header(name, "the signature header", package, LEAD)?;
    let header = header(
        name,
        "the header",
        package,
        signature.end.next_multiple_of(8),
    )?;
    Ok(Frames {
        payload: header.end..package.len(),
        signature,
        header,
    })
}

fn header(name: &str, what: &str, package: &[u8], at: usize) -> Result<Range<usize>> {
    let bad = |why: &str| damaged(name, &format!("{what} at byte {at}"), why);
    let number = |at: usize| {
        let bytes = package.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    };
    if package.get(at..at + 4) != Some(&HEADER_MAGIC) {
        return Err(bad("it does not begin as one"));
    }
    let (Some(count), Some(size)) = (number(at + 8), number(at + 12)) else {
        return Err(bad("it is cut off"));
    };
    if count == 0 || count > MOST_ENTRIES || size > MOST_DATA {
        return Err(bad("it has an impossible size"));
    }
    let index = at + 16;
    let start = index + count * ENTRY;
    let Some(data) = package.get(start..start + size) else {
        return Err(bad("it is cut off"));
    };
    // Entries do not overlap, so all together are no longer than the data;
    // this also bounds the time that looking for the ends of strings takes.
    let mut budget = size;
    for entry in (index..start).step_by(ENTRY) {
        let fields = [0, 4, 8, 12].map(|field| number(entry + field).unwrap_or(usize::MAX));
        let Some(length) = length(data, fields, budget) else {
            return Err(bad(&format!("tag {} does not fit into it", fields[0])));
        };
        budget -= length;
    }
    Ok(at..start + size)
}

/// How many bytes of `data`, at most `most`, the entry with these fields (tag,
/// type, offset, count) takes, if it lies within.
fn length(data: &[u8], [_, kind, offset, count]: [usize; 4], most: usize) -> Option<usize> {
    let data = data.get(offset..)?;
    let data = &data[..data.len().min(most)];
    let length = match kind {
        0 => 0,
        1 | 2 | 7 => count,
        3 => count * 2,
        4 => count * 4,
        5 => count * 8,
        6 => strings(data, 1)?,
        8 | 9 => strings(data, count)?,
        _ => return None,
    };
    (count > 0 && length <= data.len()).then_some(length)
}

/// The length of `count` strings, each with the NUL byte at its end.
fn strings(data: &[u8], count: usize) -> Option<usize> {
    let mut at = 0;
    for _ in 0..count {
        at += data.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
    }
    Some(at)
}
