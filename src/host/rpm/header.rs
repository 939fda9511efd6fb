//! The header of a package, as the database keeps it.
//!
//! Two big-endian words (entries, bytes of data), the entries (tag, type,
//! offset, count; four words each), and the data.  Source: rpm's
//! `docs/manual/format_header.md`; `include/rpm/rpmtag.h` for the tags.

use super::record::{Capability, File, Record, sense};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const RPMTAG_NAME: u32 = 1000;
const RPMTAG_VERSION: u32 = 1001;
const RPMTAG_RELEASE: u32 = 1002;
const RPMTAG_EPOCH: u32 = 1003;
const RPMTAG_ARCH: u32 = 1022;
const RPMTAG_FILESTATES: u32 = 1029;
const RPMTAG_FILEDIGESTS: u32 = 1035;
const RPMTAG_FILELINKTOS: u32 = 1036;
const RPMTAG_FILEFLAGS: u32 = 1037;
const RPMTAG_PROVIDENAME: u32 = 1047;
const RPMTAG_REQUIREFLAGS: u32 = 1048;
const RPMTAG_REQUIRENAME: u32 = 1049;
const RPMTAG_REQUIREVERSION: u32 = 1050;
const RPMTAG_PROVIDEFLAGS: u32 = 1112;
const RPMTAG_PROVIDEVERSION: u32 = 1113;
const RPMTAG_DIRINDEXES: u32 = 1116;
const RPMTAG_BASENAMES: u32 = 1117;
const RPMTAG_DIRNAMES: u32 = 1118;
const RPMTAG_FILEDIGESTALGO: u32 = 5011;

/// Types of entries.
const RPM_CHAR_TYPE: u32 = 1;
const RPM_INT32_TYPE: u32 = 4;
const RPM_STRING_TYPE: u32 = 6;
const RPM_STRING_ARRAY_TYPE: u32 = 8;

/// Reads a header; what makes no sense in it is the error.
pub(super) fn parse(blob: &[u8]) -> Result<Record, String> {
    let header = Header::new(blob).ok_or("a header is shorter than it says")?;
    let name = header.text(RPMTAG_NAME)?.ok_or("a header has no name")?;
    header
        .record(&name)
        .map_err(|what| format!("the header of the package `{name}`: {what}"))
}

struct Header<'a> {
    /// Tag, type, offset and count.
    entries: &'a [[u8; 16]],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    fn new(blob: &'a [u8]) -> Option<Self> {
        let (&entries, rest) = blob.split_first_chunk()?;
        let (&length, rest) = rest.split_first_chunk()?;
        let entries = usize::try_from(u32::from_be_bytes(entries)).ok()?;
        let (entries, data) = rest.split_at_checked(entries.checked_mul(16)?)?;
        Some(Self {
            entries: entries.as_chunks().0,
            data: data.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)?,
        })
    }

    /// Type, count, and the data from the entry's on.
    fn entry(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let word = |entry: &[u8; 16], at: usize| {
            u32::from_be_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        // What rpm adds when it installs a package lies at the end, and counts
        // instead of what the package had.
        let entry = self.entries.iter().rev().find(|e| word(e, 0) == tag)?;
        let [kind, offset, count] = [4, 8, 12].map(|at| word(entry, at));
        let data = self.data.get(offset as usize..).unwrap_or(&[]);
        Some((kind, count as usize, data))
    }

    /// The strings of an entry; none where it is missing.
    fn strings(&self, tag: u32) -> Result<Vec<&'a [u8]>, String> {
        let Some((kind, count, mut data)) = self.entry(tag) else {
            return Ok(Vec::new());
        };
        if kind != RPM_STRING_ARRAY_TYPE && kind != RPM_STRING_TYPE || count > data.len() {
            return Err(format!("tag {tag} is no list of strings"));
        }
        let mut strings = Vec::with_capacity(count);
        for _ in 0..count {
            let end = data.iter().position(|&byte| byte == 0);
            let end = end.ok_or_else(|| format!("tag {tag} does not end"))?;
            strings.push(&data[..end]);
            data = &data[end + 1..];
        }
        Ok(strings)
    }

    /// The first string of an entry.
    fn text(&self, tag: u32) -> Result<Option<String>, String> {
        Ok(self.strings(tag)?.first().map(|bytes| lossy(bytes)))
    }

    /// The numbers of an entry; none where it is missing.
    fn numbers(&self, tag: u32) -> Result<Vec<u32>, String> {
        let Some((kind, count, data)) = self.entry(tag) else {
            return Ok(Vec::new());
        };
        let numbers = match kind {
            RPM_CHAR_TYPE => data
                .get(..count)
                .map(|bytes| bytes.iter().copied().map(u32::from).collect()),
            RPM_INT32_TYPE => data.as_chunks().0.get(..count).map(|words| {
                let words = words.iter().copied();
                words.map(u32::from_be_bytes).collect()
            }),
            _ => None,
        };
        numbers.ok_or_else(|| format!("tag {tag} is no list of numbers"))
    }

    fn record(&self, name: &str) -> Result<Record, String> {
        let first = |tag| Ok::<_, String>(self.numbers(tag)?.first().copied().unwrap_or(0));
        Ok(Record {
            name: name.to_owned(),
            epoch: first(RPMTAG_EPOCH)?,
            version: self.text(RPMTAG_VERSION)?.ok_or("it has no version")?,
            release: self.text(RPMTAG_RELEASE)?.ok_or("it has no release")?,
            architecture: self.text(RPMTAG_ARCH)?.unwrap_or_else(|| "(none)".into()),
            digest_algorithm: first(RPMTAG_FILEDIGESTALGO)?,
            requires: self.capabilities([
                RPMTAG_REQUIRENAME,
                RPMTAG_REQUIREFLAGS,
                RPMTAG_REQUIREVERSION,
            ])?,
            provides: self.capabilities([
                RPMTAG_PROVIDENAME,
                RPMTAG_PROVIDEFLAGS,
                RPMTAG_PROVIDEVERSION,
            ])?,
            files: self.files()?,
        })
    }

    fn capabilities(&self, [names, flags, versions]: [u32; 3]) -> Result<Vec<Capability>, String> {
        let names = self.strings(names)?;
        let flags = self.numbers(flags)?;
        let versions = self.strings(versions)?;
        let triples = names.iter().zip(same(&names, &flags)?);
        Ok(triples
            .zip(same(&names, &versions)?)
            .map(|((name, flags), version)| Capability {
                name: lossy(name),
                sense: flags.map_or(0, |flags| flags & sense::RPMSENSE_SENSEMASK),
                version: version.map_or_else(String::new, |version| lossy(version)),
            })
            .collect())
    }

    fn files(&self) -> Result<Vec<File>, String> {
        let names = self.strings(RPMTAG_BASENAMES)?;
        let directories = self.strings(RPMTAG_DIRNAMES)?;
        let indexes = self.numbers(RPMTAG_DIRINDEXES)?;
        let flags = self.numbers(RPMTAG_FILEFLAGS)?;
        let states = self.numbers(RPMTAG_FILESTATES)?;
        let digests = self.strings(RPMTAG_FILEDIGESTS)?;
        let targets = self.strings(RPMTAG_FILELINKTOS)?;
        if indexes.len() != names.len() {
            return Err("its files have no directories".into());
        }
        let flags = same(&names, &flags)?;
        let states = same(&names, &states)?;
        let mut digests = same(&names, &digests)?;
        let mut targets = same(&names, &targets)?;
        let mut files = Vec::with_capacity(names.len());
        for (((name, index), flags), state) in names.iter().zip(indexes).zip(flags).zip(states) {
            let directory = directories.get(index as usize);
            let directory = directory.ok_or("its files have no directories")?;
            let mut path = Vec::with_capacity(directory.len() + name.len());
            path.extend_from_slice(directory);
            path.extend_from_slice(name);
            let path = PathBuf::from(OsStr::from_bytes(&path).to_owned());
            let mut file = File::new(
                path,
                flags.copied().unwrap_or(0),
                state.copied().unwrap_or(0),
            );
            let [digest, target] = [digests.next(), targets.next()].map(Option::flatten);
            if file.config {
                file.digest = digest.map_or_else(String::new, |digest| lossy(digest));
                let target = target.map_or(&[][..], |target| target);
                Path::new(OsStr::from_bytes(target)).clone_into(&mut file.target);
            }
            files.push(file);
        }
        Ok(files)
    }
}

/// What belongs to each of `names`: of each one, or, where the tag is missing,
/// of none.
fn same<'a, T>(
    names: &[&[u8]],
    values: &'a [T],
) -> Result<impl Iterator<Item = Option<&'a T>>, String> {
    if values.is_empty() || values.len() == names.len() {
        return Ok(values
            .iter()
            .map(Some)
            .chain(std::iter::repeat(None))
            .take(names.len()));
    }
    Err("two of its lists differ in length".into())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header of entries and the data that they point into.
    fn header(entries: &[(u32, u32, u32, u32)], data: &[u8]) -> Vec<u8> {
        let mut blob = Vec::new();
        let words = [entries.len() as u32, data.len() as u32];
        let entries = entries.iter().flat_map(|e| [e.0, e.1, e.2, e.3]);
        for word in words.into_iter().chain(entries) {
            blob.extend(word.to_be_bytes());
        }
        blob.extend(data);
        blob
    }

    fn sample() -> Vec<u8> {
        header(
            &[
                (RPMTAG_NAME, 6, 0, 1),
                (RPMTAG_VERSION, 6, 2, 1),
                (RPMTAG_RELEASE, 6, 2, 1),
                (RPMTAG_EPOCH, 4, 4, 1),
                (RPMTAG_REQUIRENAME, 8, 8, 2),
                (RPMTAG_REQUIREFLAGS, 4, 12, 2),
                (RPMTAG_REQUIREVERSION, 8, 1, 2),
                (RPMTAG_BASENAMES, 8, 8, 1),
                (RPMTAG_DIRNAMES, 8, 20, 1),
                (RPMTAG_DIRINDEXES, 4, 24, 1),
                (RPMTAG_FILEFLAGS, 4, 28, 1),
                (RPMTAG_FILEDIGESTS, 8, 2, 1),
                // What is added at the end counts.
                (RPMTAG_RELEASE, 6, 8, 1),
            ],
            b"a\x001\0\0\0\0\x03b\0c\0\0\0\0\x4c\0\0\0\0/etc\0\0\0\0\0\0\0\x41",
        )
    }

    #[test]
    fn entries_become_facts() {
        let mut blob = sample();
        let record = parse(&blob).unwrap();
        assert_eq!(record.evr(), "3:1-b");
        assert_eq!(record.architecture, "(none)");
        assert_eq!(record.requires.len(), 2);
        assert_eq!(record.requires[0].sense, 12);
        assert_eq!(record.requires[1].name, "c");
        let file = &record.files[0];
        assert_eq!(file.path, Path::new("/etcb"));
        assert!(file.config && file.ghost && file.installed);
        assert_eq!(file.digest, "1");
        blob.pop();
        assert!(parse(&blob).is_err());
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..240, byte in any::<u8>(), length in 0_usize..260) {
            let mut blob = sample();
            if let Some(place) = blob.get_mut(at) {
                *place = byte;
            }
            blob.truncate(length);
            let _ = parse(&blob);
        }
    }
}
