//! Extended attributes: in the inode if they fit there, else in a block.
//!
//! Format: <https://docs.kernel.org/filesystems/ext4/attributes.html>; the
//! hashes are those that `fs/ext4/xattr.c` computes and e2fsck checks.

use super::BLOCK;
use super::inode::XATTR_ROOM;
use crate::appliance::plan::Xattr;

const MAGIC: u32 = 0xea02_0000;
/// The header of a block of attributes, in bytes.
const HEADER: usize = 32;
/// An entry without its name, in bytes.
const ENTRY: usize = 16;
/// The zero that ends the entries, in bytes.
const END: usize = 4;

/// Prefixes of names, which are stored as a number.
const PREFIXES: [(&str, u8); 3] = [("user.", 1), ("trusted.", 4), ("security.", 6)];

/// Attributes in the form that they have on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoded {
    /// There are none.
    Nothing,
    /// Bytes for the end of an inode, at most [`XATTR_ROOM`].
    Inline(Vec<u8>),
    /// A whole block.
    Block(Vec<u8>),
}

/// An attribute on its way to the disk.
struct Stored<'a> {
    index: u8,
    name: &'a [u8],
    value: &'a [u8],
}

/// The attributes of a file that there is room for, and those that are too
/// large: one block holds them all.  Capabilities come first, as programs need
/// them to work, then the smallest.
pub fn fitting(mut xattrs: Vec<Xattr>) -> (Vec<Xattr>, Vec<Xattr>) {
    let size = |xattr: &Xattr| Stored::of(xattr).map_or(0, |stored| stored.size());
    xattrs.sort_by_cached_key(|xattr| {
        let is_other = xattr.name != "security.capability";
        (is_other, size(xattr), xattr.name.clone())
    });
    let mut room = BLOCK as usize - HEADER - END;
    xattrs.into_iter().partition(|xattr| {
        let fits = size(xattr) <= room;
        room -= if fits { size(xattr) } else { 0 };
        fits
    })
}

/// Encodes `xattrs`; `None` if they do not fit into a block.  Those with a
/// prefix that ext2 does not know are left out.
pub(super) fn encode(xattrs: &[Xattr]) -> Option<Encoded> {
    let mut stored: Vec<Stored<'_>> = xattrs.iter().filter_map(Stored::of).collect();
    if stored.is_empty() {
        return Some(Encoded::Nothing);
    }
    // The kernel looks for a name as in a sorted list.
    stored.sort_by_key(|xattr| (xattr.index, xattr.name.len(), xattr.name));
    let size: usize = stored.iter().map(Stored::size).sum::<usize>() + END;
    if size + 4 <= XATTR_ROOM {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        // Positions of values count from the first entry.
        bytes.extend(table(&stored, 0, XATTR_ROOM - 4));
        return Some(Encoded::Inline(bytes));
    }
    if HEADER + size > BLOCK as usize {
        return None;
    }
    let hash = stored
        .iter()
        .fold(0u32, |hash, xattr| hash.rotate_left(16) ^ xattr.hash());
    let mut bytes = Vec::with_capacity(BLOCK as usize);
    for field in [MAGIC, 1, 1, hash, 0, 0, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(table(&stored, HEADER, BLOCK as usize - HEADER));
    Some(Encoded::Block(bytes))
}

/// Entries from the start and values from the end of `room` bytes; positions
/// of values count from `offset` bytes before.
fn table(stored: &[Stored<'_>], offset: usize, room: usize) -> Vec<u8> {
    let mut bytes = vec![0; room];
    let (mut at, mut end) = (0, room);
    for xattr in stored {
        let padded = xattr.value.len().next_multiple_of(4);
        end -= padded;
        bytes[end..end + xattr.value.len()].copy_from_slice(xattr.value);
        let position = if padded == 0 {
            0
        } else {
            (offset + end) as u16
        };
        bytes[at] = xattr.name.len() as u8;
        bytes[at + 1] = xattr.index;
        bytes[at + 2..at + 4].copy_from_slice(&position.to_le_bytes());
        bytes[at + 8..at + 12].copy_from_slice(&(xattr.value.len() as u32).to_le_bytes());
        bytes[at + 12..at + 16].copy_from_slice(&xattr.hash().to_le_bytes());
        bytes[at + ENTRY..at + ENTRY + xattr.name.len()].copy_from_slice(xattr.name);
        at += ENTRY + xattr.name.len().next_multiple_of(4);
    }
    bytes
}

impl<'a> Stored<'a> {
    /// `None` if ext2 does not know its prefix.
    fn of(xattr: &'a Xattr) -> Option<Self> {
        let (prefix, index) = PREFIXES
            .iter()
            .find(|(prefix, _)| xattr.name.starts_with(prefix))?;
        Some(Self {
            index: *index,
            name: &xattr.name.as_bytes()[prefix.len()..],
            value: &xattr.value,
        })
    }

    fn size(&self) -> usize {
        ENTRY + self.name.len().next_multiple_of(4) + self.value.len().next_multiple_of(4)
    }

    fn hash(&self) -> u32 {
        let name = self
            .name
            .iter()
            .fold(0u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn xattr(name: &str, size: usize) -> Xattr {
        Xattr {
            name: name.into(),
            value: vec![7; size],
        }
    }

    #[test]
    fn they_go_where_they_fit() {
        assert_eq!(encode(&[]), Some(Encoded::Nothing));
        assert_eq!(
            encode(&[xattr("system.posix_acl_access", 4)]),
            Some(Encoded::Nothing)
        );
        let capability = encode(&[xattr("security.capability", 20)]);
        assert!(matches!(capability, Some(Encoded::Inline(bytes)) if bytes.len() == XATTR_ROOM));
        let long = encode(&[xattr("user.a", 20), xattr("user.b", 2000)]);
        assert!(matches!(long, Some(Encoded::Block(bytes)) if bytes.len() == BLOCK as usize));
        assert_eq!(encode(&[xattr("user.a", 4090)]), None);
    }

    #[test]
    fn the_smallest_are_kept_and_capabilities_before_all() {
        let all = vec![
            xattr("user.large", 5000),
            xattr("user.b", 3000),
            xattr("user.a", 3000),
            xattr("user.small", 1),
            xattr("security.capability", 20),
        ];
        let (kept, left) = fitting(all);
        let names = |xattrs: &[Xattr]| -> Vec<String> {
            xattrs.iter().map(|xattr| xattr.name.clone()).collect()
        };
        assert_eq!(
            names(&kept),
            ["security.capability", "user.small", "user.a"]
        );
        assert_eq!(names(&left), ["user.b", "user.large"]);
        assert!(encode(&kept).is_some());
    }

    proptest! {
        /// What is said to fit does, and nothing is lost.
        #[test]
        fn what_fits_is_encoded(sizes in proptest::collection::vec(0..5000usize, 0..8)) {
            let all: Vec<Xattr> = sizes.iter().enumerate()
                .map(|(i, size)| xattr(&format!("user.{i}"), *size))
                .collect();
            let (kept, left) = fitting(all.clone());
            prop_assert!(encode(&kept).is_some());
            prop_assert_eq!(kept.len() + left.len(), all.len());
            prop_assert_eq!(left.is_empty(), encode(&all).is_some());
        }
    }
}
