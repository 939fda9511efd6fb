//! `/etc/ld.so.cache`: the host's, without the libraries that are not here.
//!
//! The format is that of glibc's `sysdeps/generic/dl-cache.h`, the one that
//! begins with `glibc-ld.so.cache1.1`, in the host's byte order.

use std::path::Path;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// The older format, which may stand before the newer one.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
/// Magic, number of entries, length of the strings, flags, offset of the
/// extensions, three unused numbers.
const HEADER: usize = 48;
/// Flags, offsets of name and path, a version, and 8 bytes of capabilities.
const ENTRY: usize = 24;
/// Where an entry has the offset of its path.
const VALUE: usize = 8;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;

/// `cache` with those entries whose path `keep` accepts, and no other; `None`
/// if it is no cache that is understood, or nothing remains.
pub(super) fn restrict(cache: &[u8], keep: impl Fn(&Path) -> bool) -> Option<Vec<u8>> {
    let cache = match cache.strip_prefix(OLD_MAGIC) {
        // Old entries of 12 bytes, then the newer cache at the next multiple of 8.
        Some(_) => {
            let count = number(cache, OLD_MAGIC.len())?;
            cache.get((16 + 12 * count).next_multiple_of(8)..)?
        }
        None => cache,
    };
    if !cache.starts_with(MAGIC) {
        return None;
    }
    let count = number(cache, MAGIC.len())?;
    let strings = HEADER.checked_add(count.checked_mul(ENTRY)?)?;
    let entries = cache.get(HEADER..strings)?.as_chunks::<ENTRY>().0;
    let kept: Vec<&[u8; ENTRY]> = entries
        .iter()
        .filter(|entry| {
            let path = number(&entry[..], VALUE).and_then(|at| text(cache, at));
            path.is_some_and(|path| keep(Path::new(path)))
        })
        .collect();
    if kept.is_empty() {
        return None;
    }
    // Everything behind the entries moves to the front by this; offsets count
    // from the start.
    let gone = (entries.len() - kept.len()) * ENTRY;
    let mut new = cache[..HEADER].to_vec();
    put(&mut new, MAGIC.len(), kept.len())?;
    for entry in kept {
        let mut entry = *entry;
        for at in [VALUE - 4, VALUE] {
            let moved = number(&entry, at)?.checked_sub(gone)?;
            put(&mut entry, at, moved)?;
        }
        new.extend_from_slice(&entry);
    }
    new.extend_from_slice(cache.get(strings..)?);
    let extension = number(cache, 32)?;
    if extension != 0 {
        let at = extension.checked_sub(gone)?;
        put(&mut new, 32, at)?;
        move_extension(&mut new, at, gone)?;
    }
    Some(new)
}

/// Corrects the offsets of the extension directory at `at`: magic, count, then
/// sections of tag, flags, offset and size.
fn move_extension(cache: &mut [u8], at: usize, gone: usize) -> Option<()> {
    if number(cache, at)? != EXTENSION_MAGIC as usize {
        return None;
    }
    let count = number(cache, at + 4)?;
    for section in 0..count {
        let start = at.checked_add(8)?.checked_add(section.checked_mul(16)?)?;
        let offset = number(cache, start.checked_add(8)?)?;
        let (moved, size) = (offset.checked_sub(gone)?, number(cache, start + 12)?);
        put(cache, start + 8, moved)?;
        // Section 1 holds the offsets of the names of glibc-hwcaps.
        if number(cache, start)? == 1 {
            for name in 0..size / 4 {
                let at = moved.checked_add(name * 4)?;
                let name = number(cache, at)?.checked_sub(gone)?;
                put(cache, at, name)?;
            }
        }
    }
    Some(())
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_ne_bytes(four.try_into().ok()?)).ok()
}

fn put(bytes: &mut [u8], at: usize, value: usize) -> Option<()> {
    let value = u32::try_from(value).ok()?;
    let four = bytes.get_mut(at..at.checked_add(4)?)?;
    four.copy_from_slice(&value.to_ne_bytes());
    Some(())
}

fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use proptest::prelude::*;

    /// What `ldconfig -p` says of a cache; `None` where there is no ldconfig.
    fn listed(cache: &[u8]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        files::write(&path, cache).unwrap();
        let mut ldconfig = std::process::Command::new("/sbin/ldconfig");
        let output = ldconfig.arg("-p").arg("-C").arg(&path).output().ok()?;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        Some(text.replace(path.to_str().unwrap(), "cache"))
    }

    #[test]
    fn ldconfig_lists_what_is_kept_and_nothing_else() {
        let Ok(cache) = files::read("/etc/ld.so.cache") else {
            return;
        };
        let keep = |path: &Path| path.to_string_lossy().contains("libc.");
        let restricted = restrict(&cache, keep).unwrap();
        let (Some(all), Some(found)) = (listed(&cache), listed(&restricted)) else {
            return;
        };
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.contains("=>"));
            lines
                .filter(|line| line.contains("libc."))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(lines(&found), lines(&all));
        assert_eq!(
            found.lines().filter(|line| line.contains("=>")).count(),
            lines(&all).len()
        );
        assert!(
            found.starts_with(&format!("{} libs found", lines(&all).len())),
            "{found}"
        );
        let whole = restrict(&cache, |_| true).unwrap();
        assert!(listed(&whole) == listed(&cache));
    }

    proptest! {
        #[test]
        fn damaged_caches_never_panic(
            tail in proptest::collection::vec(any::<u8>(), 0..200), count in 0u32..9) {
            let mut cache = MAGIC.to_vec();
            cache.extend(count.to_ne_bytes());
            cache.extend(tail);
            let _ = restrict(&cache, |_| true);
            let _ = restrict(&cache[3..], |_| true);
        }
    }
}
