//! Reading an SQLite database without SQLite.
//!
//! Only what rpmdb.sqlite needs: the rows of one table, from the file and its
//! write-ahead log.  Nothing is written and no lock is taken, so that any user
//! can read in any directory, also while rpm writes.  In place of a lock, both
//! files are looked at before and after they are read, and what was read while
//! they changed under our feet is thrown away.
//!
//! Source: <https://www.sqlite.org/fileformat2.html>.

mod btree;
mod wal;

use crate::{Error, Result, files};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wal::Wal;

/// How often a database that changes while it is read is tried: with the pause
/// this outlasts every checkpoint, but not a program that hangs.
const TRIES: usize = 50;

/// Between two tries.  No clock that stamps files ticks more slowly.
const PAUSE: Duration = Duration::from_millis(20);

/// What `parse` makes of the blob in each row of `table`, in the order of the
/// row numbers; its error says what makes no sense.
pub(super) fn blobs<T>(
    path: &Path,
    table: &str,
    mut parse: impl FnMut(&[u8]) -> Result<T, String>,
) -> Result<Vec<T>> {
    let (database, log) = read(path)?;
    let mut found = Vec::new();
    let parsed = each_blob(&database, &log, table, |blob| {
        found.push(parse(blob)?);
        Ok(())
    });
    parsed.map_err(|what| {
        Error::host(format!(
            "the RPM database `{}` is damaged: {what}",
            path.display()
        ))
        .hint("repair it with `rpmdb --rebuilddb` as root")
    })?;
    Ok(found)
}

fn each_blob(
    database: &[u8],
    log: &[u8],
    table: &str,
    mut visit: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let image = Image::new(database, log)?;
    btree::rows(&image, btree::root_of(&image, table)?, |row| {
        for value in btree::values(row)? {
            if let btree::Value::Blob(blob) = value? {
                visit(blob)?;
            }
        }
        Ok(())
    })
}

/// The database and its log, both of one moment.
fn read(path: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let before = Look::at(path)?;
        let database = files::read(path)?;
        if Look::at(path)?.agrees_with(&before) {
            return Ok((database, before.log));
        }
    }
    Err(Error::host(format!(
        "the RPM database `{}` is being changed all the time, or a change was interrupted",
        path.display()
    ))
    .hint(
        "wait until the package manager is done, or run `rpm -qa` once as root, which repairs it",
    ))
}

/// A look at the files of a database.
struct Look {
    stamp: Stamp,
    /// Whether a later write is sure to change the stamp.
    settled: bool,
    journal: bool,
    log: Vec<u8>,
}

/// What changes when a file is written or replaced.
type Stamp = [i128; 5];

fn stamp(meta: &Metadata) -> Stamp {
    let time = |seconds: i64, nanoseconds: i64| {
        i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
    };
    [
        meta.dev().into(),
        meta.ino().into(),
        meta.len().into(),
        time(meta.mtime(), meta.mtime_nsec()),
        time(meta.ctime(), meta.ctime_nsec()),
    ]
}

impl Look {
    fn at(path: &Path) -> Result<Self> {
        // The stamp first: what moves from the log to the file after it is
        // noticed, what moved before is in the file.
        let meta = path
            .metadata()
            .map_err(|e| Error::io("cannot examine", path, e))?;
        let age = meta
            .modified()
            .map(|time| SystemTime::now().duration_since(time));
        Ok(Self {
            stamp: stamp(&meta),
            settled: !matches!(age, Ok(Ok(age)) if age < PAUSE),
            // A transaction in the older style, which writes in place, keeps
            // the old pages there.  When it ends, the first byte is zeroed, or
            // the file is emptied or removed.
            journal: read_beside(path, "-journal")?
                .first()
                .is_some_and(|&byte| byte != 0),
            log: read_beside(path, "-wal")?,
        })
    }

    /// Whether all that was read from the file after `before` and until now is
    /// of that moment.
    fn agrees_with(&self, before: &Self) -> bool {
        if self.journal || before.journal {
            return false;
        }
        let untouched = before.settled && self.stamp == before.stamp;
        match (Wal::parse(&before.log), Wal::parse(&self.log)) {
            (None, _) => untouched,
            // A log only grows until it is begun anew, with another header.
            // What it grew by does no harm unless it reached the file.
            (Some(old), Some(new)) if old.is_begun_as(&new) => untouched || old.end() == new.end(),
            _ => false,
        }
    }
}

/// The content of the file with this suffix; nothing if there is none.
fn read_beside(path: &Path, suffix: &str) -> Result<Vec<u8>> {
    let mut name = OsString::from(path);
    name.push(suffix);
    let path = PathBuf::from(name);
    match std::fs::File::open(&path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => files::read(path),
    }
}

/// A database: its pages, numbered from 1, from the log, else from the file.
#[derive(Debug)]
struct Image<'a> {
    database: &'a [u8],
    wal: Option<Wal<'a>>,
    page_size: usize,
    /// How many bytes of a page hold content.
    usable: usize,
    /// How many pages there are.
    count: u32,
    /// How many of them there are at most: a log may count more than it has.
    there: u32,
}

impl<'a> Image<'a> {
    fn new(database: &'a [u8], log: &'a [u8]) -> Result<Self, String> {
        let wal = Wal::parse(log);
        let logged = wal.as_ref().and_then(|wal| wal.page(1));
        let first = logged.unwrap_or(database).first_chunk();
        let header = btree::Header::parse(first.ok_or("it is too short")?)?;
        let in_file = u32::try_from(database.len() / header.page_size).unwrap_or(u32::MAX);
        let count = match &wal {
            Some(wal) if wal.page_size() == header.page_size => wal.count(),
            Some(_) => return Err("its log has pages of another size".into()),
            None => in_file,
        };
        let in_log = wal.as_ref().map_or(0, Wal::len);
        if wal.is_none() && header.count.is_some_and(|expected| expected > count) {
            return Err(format!("it ends after {count} pages"));
        }
        Ok(Self {
            database,
            wal,
            page_size: header.page_size,
            usable: header.usable,
            count,
            there: in_file.saturating_add(in_log).min(count),
        })
    }

    fn page(&self, number: u32) -> Result<&'a [u8], String> {
        let logged = self.wal.as_ref().and_then(|wal| wal.page(number));
        let in_file = || {
            let start = (number as usize).checked_sub(1)? * self.page_size;
            self.database.get(start..start + self.page_size)
        };
        let page = logged.or_else(in_file).filter(|_| number <= self.count);
        match page {
            Some(page) => Ok(&page[..self.usable]),
            None => Err(format!("there is no page {number}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: usize = 512;

    /// A page of a table with these cells; `last` is the child of an interior
    /// page that follows them.
    fn page(number: u32, cells: &[Vec<u8>], last: Option<u32>) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        let start = if number == 1 { 100 } else { 0 };
        if number == 1 {
            page[..16].copy_from_slice(b"SQLite format 3\0");
            page[16..20].copy_from_slice(&[2, 0, 1, 1]);
            page[59] = 1;
        }
        page[start] = if last.is_some() { 5 } else { 13 };
        page[start + 3..start + 5].copy_from_slice(&(cells.len() as u16).to_be_bytes());
        let mut pointers = start + if last.is_some() { 12 } else { 8 };
        if let Some(last) = last {
            page[start + 8..start + 12].copy_from_slice(&last.to_be_bytes());
        }
        let mut end = PAGE;
        for cell in cells {
            end -= cell.len();
            page[end..end + cell.len()].copy_from_slice(cell);
            page[pointers..pointers + 2].copy_from_slice(&(end as u16).to_be_bytes());
            pointers += 2;
        }
        page
    }

    /// A database whose `Packages` are at page 2: a row of ten bytes on page 3,
    /// and one of a thousand on pages 4 to 6.
    fn database() -> Vec<u8> {
        let schema = b"\x06\x17\x1d\x1d\x01\x0dtablePackagesPackages\x02";
        let schema = [&[schema.len() as u8, 1][..], schema].concat();
        let small = [&[12, 1, 2, 32][..], &[b'x'; 10]].concat();
        // The length 1003, the number, a header of three bytes, a blob of 1000.
        let large = [
            &[0x87, 0x6b, 2, 3, 0x8f, 0x5c][..],
            &[b'y'; 36],
            &[0, 0, 0, 5],
        ]
        .concat();
        let overflow = |next: u32| [&next.to_be_bytes()[..], &[b'y'; PAGE - 4]].concat();
        let child = |page: u8| vec![0, 0, 0, page, 1];
        [
            page(1, &[schema], None),
            page(2, &[child(3)], Some(4)),
            page(3, &[small], None),
            page(4, &[large], None),
            overflow(6),
            overflow(0),
        ]
        .concat()
    }

    /// The lengths of the blobs in `Packages`.
    fn lengths(database: &[u8], log: &[u8]) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        each_blob(database, log, "Packages", |blob| {
            found.push(blob.len());
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn rows_are_read_whole() {
        assert_eq!(lengths(&database(), &[]).unwrap(), [10, 1000]);
    }

    /// A log may say that the database has four thousand million pages: more than
    /// can be walked in a circle, and more than there is memory for.
    #[test]
    fn a_log_that_counts_too_many_pages_costs_nothing() {
        let database = database();
        let circle = page(2, &vec![vec![0, 0, 0, 2]; 100], Some(2));
        // The length, 2^44, the number, and nothing of the row.
        let vast = page(
            2,
            &[vec![0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 1]],
            None,
        );
        for (content, problem) in [(circle, "in two places"), (vast, "a row beyond its end")] {
            let log = wal::tests::log_of(&[(2, u32::MAX, 7, &content)]);
            let error = lengths(&database, &log).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
            cut in any::<prop::sample::Index>(),
            page in 1_u32..7,
            count in any::<u32>(),
        ) {
            let mut database = database();
            for (at, byte) in flips {
                let at = at.index(database.len());
                database[at] = byte;
            }
            let _ = lengths(&database, &[]);
            let damaged = database[(page as usize - 1) * PAGE..][..PAGE].to_vec();
            let log = wal::tests::log_of(&[(page, count, 7, &damaged)]);
            let _ = lengths(&database, &log);
            let _ = lengths(&database[..cut.index(database.len())], &[]);
        }
    }
}
