//! The ar archive that a Debian package is.
//!
//! Format: deb(5), ar(5); only the common variant occurs, without long names.

use super::damaged;
use crate::Result;
use std::ops::Range;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// A member of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name, without padding.
    pub(crate) name: String,
    /// Where its bytes lie in the archive.
    pub(crate) range: Range<usize>,
}

/// The members of `archive`, in their order.
pub(crate) fn members(package: &str, archive: &[u8]) -> Result<Vec<Member>> {
    if !archive.starts_with(MAGIC) {
        return Err(damaged(package, "byte 0", "it is no ar archive"));
    }
    let mut members = Vec::new();
    let mut at = MAGIC.len();
    while at < archive.len() {
        let place = format!("byte {at}");
        let header = archive.get(at..at + HEADER).filter(|h| h.ends_with(b"`\n"));
        let text = header.and_then(|header| std::str::from_utf8(header).ok());
        let Some(text) = text.filter(|text| text.is_ascii()) else {
            return Err(damaged(package, &place, "there is no header of a member"));
        };
        let start = at + HEADER;
        let size = text[48..58].trim_end().parse::<usize>();
        let end = size.ok().and_then(|size| start.checked_add(size));
        let Some(end) = end.filter(|end| *end <= archive.len()) else {
            return Err(damaged(package, &place, "the member is cut off"));
        };
        members.push(Member {
            // System V ar ends a name with a slash.
            name: text[..16].trim_end().trim_end_matches('/').to_owned(),
            range: start..end,
        });
        at = end.next_multiple_of(2);
    }
    Ok(members)
}
