//! Tables: b-trees of pages, whose leaves hold the rows.

use super::Image;

/// What the first 100 bytes of a database say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes in a page.
    pub(super) page_size: usize,
    /// Those of them that hold content.
    pub(super) usable: usize,
    /// How many pages there are, if that is known.
    pub(super) count: Option<u32>,
}

const MAGIC: &[u8] = b"SQLite format 3\0";

/// Kinds of b-tree pages.
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

/// A tree of this height would hold more rows than a file can.
const MAX_DEPTH: usize = 20;

/// Whether a page can have `size` bytes.
pub(super) fn is_page_size(size: usize) -> bool {
    size.is_power_of_two() && (512..=65536).contains(&size)
}

impl Header {
    pub(super) fn parse(first: &[u8; 100]) -> Result<Self, String> {
        if !first.starts_with(MAGIC) {
            return Err("it is no SQLite database".into());
        }
        let page_size = match u16::from_be_bytes([first[16], first[17]]) {
            1 => 65536,
            size => size.into(),
        };
        if !is_page_size(page_size) {
            return Err(format!("it has pages of {page_size} bytes"));
        }
        // Reserved bytes may leave no less than 480.
        let usable = page_size - usize::from(first[20]);
        if usable < 480 {
            return Err("its pages have no room".into());
        }
        let [read_version, encoding] = [first[19].into(), be(&first[56..60])];
        if read_version > 2_u64 {
            return Err(format!("its format {read_version} is not known"));
        }
        if encoding > 1 {
            return Err("its text is not UTF-8".into());
        }
        // Programs older than the count do not keep it, and are told by the
        // counter of changes that does not agree.
        let count = (first[24..28] == first[92..96]).then(|| be(&first[28..32]) as u32);
        Ok(Self {
            page_size,
            usable,
            count: count.filter(|&count| count != 0),
        })
    }
}

/// The page where the b-tree of `table` begins.
pub(super) fn root_of(image: &Image<'_>, table: &str) -> Result<u32, String> {
    let mut root = None;
    // The schema: type, name, table, root page and SQL.
    rows(image, 1, |row| {
        let columns = values(row)?.take(4).collect::<Result<Vec<_>, _>>()?;
        if let [
            Value::Text(b"table"),
            Value::Text(name),
            _,
            Value::Integer(page),
        ] = columns[..]
            && name == table.as_bytes()
        {
            root = u32::try_from(page).ok();
        }
        Ok(())
    })?;
    match root {
        Some(root) => Ok(root),
        None => Err(format!("it has no table `{table}`")),
    }
}

/// Calls `visit` with the record of each row of the table at page `root`.
pub(super) fn rows(
    image: &Image<'_>,
    root: u32,
    mut visit: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut walk = Walk {
        image,
        unread: image.there,
        row: Vec::new(),
    };
    walk.tree(root, 0, &mut visit)
}

struct Walk<'a> {
    image: &'a Image<'a>,
    /// Every page belongs to one place only, so that a walk that meets more
    /// pages than there are goes in circles.
    unread: u32,
    row: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn page(&mut self, number: u32) -> Result<&'a [u8], String> {
        let Some(left) = self.unread.checked_sub(1) else {
            return Err(format!("page {number} is in two places"));
        };
        self.unread = left;
        self.image.page(number)
    }

    fn tree(
        &mut self,
        number: u32,
        depth: usize,
        visit: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("a table is too deep".into());
        }
        let page = self.page(number)?;
        // Page 1 begins with the header of the file.
        let start = if number == 1 { 100 } else { 0 };
        let pointers = match page[start] {
            LEAF => start + 8,
            INTERIOR => start + 12,
            kind => return Err(format!("page {number} is of kind {kind}, not of a table")),
        };
        let cells = be(&page[start + 3..start + 5]) as usize;
        let Some(cells) = page.get(pointers..pointers + 2 * cells) else {
            return Err(format!("page {number} has {cells} cells"));
        };
        for &[high, low] in cells.as_chunks::<2>().0 {
            let Some(cell) = page.get(usize::from(u16::from_be_bytes([high, low]))..) else {
                return Err(format!("page {number} has a cell beyond its end"));
            };
            if page[start] == LEAF {
                self.leaf(number, cell)?;
                visit(&self.row)?;
            } else {
                let child = cell.first_chunk().map(|&child| u32::from_be_bytes(child));
                self.tree(child.unwrap_or(0), depth + 1, visit)?;
            }
        }
        if page[start] == INTERIOR {
            let last = be(&page[start + 8..start + 12]) as u32;
            self.tree(last, depth + 1, visit)?;
        }
        Ok(())
    }

    /// Collects the record of a cell in `self.row`.
    fn leaf(&mut self, number: u32, cell: &[u8]) -> Result<(), String> {
        let bad = || format!("page {number} has a row beyond its end");
        let usable = self.image.usable;
        let (length, rest) = varint(cell).ok_or_else(bad)?;
        let (_row_number, rest) = varint(rest).ok_or_else(bad)?;
        let most = u64::from(self.image.there) * usable as u64;
        if length > most {
            return Err(bad());
        }
        let length = length as usize;
        let local = local_length(length, usable);
        self.row.clear();
        self.row.reserve(length);
        self.row
            .extend_from_slice(rest.get(..local).ok_or_else(bad)?);
        if local == length {
            return Ok(());
        }
        let next = rest[local..].first_chunk().ok_or_else(bad)?;
        let mut next = u32::from_be_bytes(*next);
        while self.row.len() < length {
            let missing = (length - self.row.len()).min(usable - 4);
            let page = self.page(next)?;
            next = be(&page[..4]) as u32;
            self.row.extend_from_slice(&page[4..4 + missing]);
        }
        Ok(())
    }
}

/// How many of a row's `length` bytes are in the leaf itself: section 1.6.
fn local_length(length: usize, usable: usize) -> usize {
    let most = usable - 35;
    if length <= most {
        return length;
    }
    let least = (usable - 12) * 32 / 255 - 23;
    let wanted = least + (length - least) % (usable - 4);
    if wanted <= most { wanted } else { least }
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// NULL, or a floating-point number, which nobody asks for.
    Other,
    Integer(i64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// The values in a record: section 2.1.
pub(super) fn values(
    record: &[u8],
) -> Result<impl Iterator<Item = Result<Value<'_>, String>>, String> {
    let bad = || "a row is shorter than it says".to_owned();
    let (length, _) = varint(record).ok_or_else(bad)?;
    let length = usize::try_from(length).map_err(|_| bad())?;
    let (header, mut body) = record.split_at_checked(length).ok_or_else(bad)?;
    let mut types = varint(header).ok_or_else(bad)?.1;
    Ok(std::iter::from_fn(move || {
        if types.is_empty() {
            return None;
        }
        let mut next = || {
            let (kind, rest) = varint(types)?;
            types = rest;
            let length = match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                10 | 11 => return None, // reserved
                _ => (kind - 12) / 2,
            };
            let (bytes, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
            body = rest;
            Some(match kind {
                0 | 7 => Value::Other,
                8 | 9 => Value::Integer((kind - 8).cast_signed()),
                1..=6 => Value::Integer(signed(bytes)),
                _ if kind % 2 == 0 => Value::Blob(bytes),
                _ => Value::Text(bytes),
            })
        };
        let value = next();
        if value.is_none() {
            types = &[]; // nothing after damage makes sense
        }
        Some(value.ok_or_else(bad))
    }))
}

/// A big-endian number of up to 8 bytes.
fn be(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The same in two's complement.
fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len();
    (be(bytes) << unused).cast_signed() >> unused
}

/// A number of 1 to 9 bytes, 7 bits in each but the ninth, and what follows.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().enumerate().take(9) {
        if at == 8 {
            return Some((number << 8 | u64::from(byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_up_to_nine_bytes() {
        assert_eq!(varint(&[0x7f, 1]), Some((127, &[1][..])));
        assert_eq!(varint(&[0x81, 0x00]), Some((128, &[][..])));
        assert_eq!(varint(&[0xff; 9]), Some((u64::MAX, &[][..])));
        assert_eq!(varint(&[0xff; 8]), None);
        assert_eq!(signed(&[0xff, 0xfe]), -2);
        assert_eq!(signed(&[0x7f]), 127);
    }

    #[test]
    fn long_rows_leave_the_leaf() {
        // The thresholds of section 1.6 for pages of 4096 bytes.
        assert_eq!(local_length(4061, 4096), 4061);
        assert_eq!(local_length(4062, 4096), 489);
        assert_eq!(local_length(4092 + 489 + 7, 4096), 496);
    }

    #[test]
    fn records_have_typed_values() {
        let record = [5, 0, 1, 9, 14, 0xff, b'x'];
        let values: Vec<_> = values(&record).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            values,
            [
                Value::Other,
                Value::Integer(-1),
                Value::Integer(1),
                Value::Blob(b"x")
            ]
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(record in proptest::collection::vec(any::<u8>(), 0..50)) {
            if let Ok(values) = values(&record) {
                prop_assert!(values.count() <= record.len());
            }
        }
    }
}
