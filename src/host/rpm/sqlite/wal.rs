//! The write-ahead log: pages that are committed but not yet in the database.

use std::collections::HashMap;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The first word, but for its last bit, which says whether checksums are over
/// big-endian words.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// The committed part of a log.
#[derive(Debug)]
pub(super) struct Wal<'a> {
    header: &'a [u8; HEADER],
    page_size: usize,
    /// Pages of the database after the last commit.
    count: u32,
    /// The newest content of a page.
    pages: HashMap<u32, &'a [u8]>,
    /// Where the last committed frame ends.
    end: usize,
}

impl<'a> Wal<'a> {
    /// Reads a log; `None` if nothing is committed in it.
    pub(super) fn parse(log: &'a [u8]) -> Option<Self> {
        let (header, frames) = log.split_first_chunk::<HEADER>()?;
        let mut sum = Checksum {
            big: word(header, 0) & 1 == 1,
            sums: [0; 2],
        };
        sum.add(&header[..24]);
        let page_size = word(header, 8) as usize;
        if word(header, 0) & !1 != MAGIC
            || word(header, 4) != VERSION
            || !sum.is(&header[24..])
            || !super::btree::is_page_size(page_size)
        {
            return None; // SQLite too takes such a log for none
        }
        let mut wal = Self {
            header,
            page_size,
            count: 0,
            pages: HashMap::new(),
            end: 0,
        };
        let mut pending = Vec::new();
        let mut end = HEADER;
        for frame in frames.chunks_exact(FRAME_HEADER + page_size) {
            let (about, page) = frame.split_at(FRAME_HEADER);
            let [number, size] = [word(about, 0), word(about, 4)];
            // Frames of an earlier round, or half written.
            if about[8..16] != header[16..24] || number == 0 {
                break;
            }
            sum.add(&about[..8]);
            sum.add(page);
            if !sum.is(&about[16..]) {
                break;
            }
            pending.push((number, page));
            end += frame.len();
            if size != 0 {
                wal.pages.extend(pending.drain(..));
                wal.count = size;
                wal.end = end;
            }
        }
        (wal.end != 0).then_some(wal)
    }

    /// The content of page `number`, if the log has it.
    pub(super) fn page(&self, number: u32) -> Option<&'a [u8]> {
        self.pages.get(&number).copied()
    }

    /// How many pages it has.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn page_size(&self) -> usize {
        self.page_size
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Whether both are the same log, at different moments: its salts are new
    /// each time it is begun.
    pub(super) fn is_begun_as(&self, other: &Wal<'_>) -> bool {
        self.header == other.header
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |&bytes| u32::from_be_bytes(bytes))
}

/// The checksum that runs through the log, section 4.2 of the format.
struct Checksum {
    big: bool,
    sums: [u32; 2],
}

impl Checksum {
    /// Adds `bytes`, whose length is a multiple of 8.
    fn add(&mut self, bytes: &[u8]) {
        let read = if self.big {
            u32::from_be_bytes
        } else {
            u32::from_le_bytes
        };
        let [mut first, mut second] = self.sums;
        for &[a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
            first = first.wrapping_add(read([a, b, c, d])).wrapping_add(second);
            second = second.wrapping_add(read([e, f, g, h])).wrapping_add(first);
        }
        self.sums = [first, second];
    }

    /// Whether `bytes` hold this sum.
    fn is(&self, bytes: &[u8]) -> bool {
        [word(bytes, 0), word(bytes, 4)] == self.sums
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A log of 512-byte pages, with big-endian sums, of (page, size, salt).
    fn log(frames: &[(u32, u32, u8)]) -> Vec<u8> {
        let contents: Vec<_> = frames.iter().map(|frame| [frame.0 as u8; 512]).collect();
        let frames = frames.iter().zip(&contents);
        let frames: Vec<_> = frames
            .map(|(f, content)| (f.0, f.1, f.2, &content[..]))
            .collect();
        log_of(&frames)
    }

    /// The same with the content of each page.
    pub(in crate::host::rpm::sqlite) fn log_of(frames: &[(u32, u32, u8, &[u8])]) -> Vec<u8> {
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        let mut sum = Checksum {
            big: true,
            sums: [0; 2],
        };
        let mut log = words(&[MAGIC | 1, VERSION, 512, 0]);
        log.extend([7; 8]);
        sum.add(&log);
        log.extend(words(&sum.sums));
        for &(page, size, salt, content) in frames {
            let about = words(&[page, size]);
            sum.add(&about);
            sum.add(content);
            log.extend(about);
            log.extend([salt; 8]);
            log.extend(words(&sum.sums));
            log.extend(content);
        }
        log
    }

    #[test]
    fn only_what_is_committed_counts_and_the_newest_of_it() {
        let log = log(&[(1, 0, 7), (2, 3, 7), (1, 4, 7), (9, 0, 7)]);
        let wal = Wal::parse(&log).unwrap();
        assert_eq!(wal.count(), 4);
        let page = |at: usize| Some(&log[32 + at * 536 + 24..][..512]);
        assert_eq!(wal.page(1), page(2));
        assert_eq!(wal.page(2), page(1));
        assert_eq!(wal.page(9), None);
        assert_eq!(wal.end(), 32 + 3 * 536);
    }

    #[test]
    fn it_ends_at_a_frame_with_another_salt_or_sum() {
        let salted = log(&[(1, 1, 7), (2, 2, 8)]);
        assert_eq!(Wal::parse(&salted).unwrap().count(), 1);
        let mut flipped = log(&[(1, 1, 7), (2, 2, 7)]);
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        assert_eq!(Wal::parse(&flipped).unwrap().count(), 1);
        flipped[0] ^= 1;
        assert!(Wal::parse(&flipped).is_none());
        assert!(Wal::parse(&[]).is_none());
    }

    proptest! {
        #[test]
        fn damage_ends_it_earlier_at_most(at in 0_usize..1640, bit in 0_u8..8) {
            let mut log = log(&[(1, 1, 7), (2, 2, 7), (3, 3, 7)]);
            log[at] ^= 1 << bit;
            let pages = Wal::parse(&log).map_or(0, |wal| wal.count());
            prop_assert_eq!(pages as usize, at.saturating_sub(32) / 536);
        }
    }
}
