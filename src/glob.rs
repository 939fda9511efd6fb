//! Patterns with the meaning that glibc gives them, as supermin's users know it.

use crate::{Error, Result};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A pattern of fnmatch(3) with `FNM_NOESCAPE` alone: `*` and `?` match `/` and
/// leading dots, a backslash is a backslash, and the whole path has to match.
#[derive(Debug, Clone)]
pub struct Pattern(CString);

impl Pattern {
    /// A pattern; one with a NUL byte is an error.
    pub fn new(text: &str) -> Result<Self> {
        CString::new(text).map(Self).map_err(|e| {
            Error::input(format!(
                "the pattern `{}` has a NUL byte",
                text.escape_debug()
            ))
            .caused_by(e)
        })
    }

    /// Whether the pattern matches all of `path`.
    pub fn matches(&self, path: &Path) -> bool {
        fnmatch(&self.0, path.as_os_str(), libc::FNM_NOESCAPE)
    }
}

#[allow(unsafe_code)]
fn fnmatch(pattern: &CString, text: &OsStr, flags: libc::c_int) -> bool {
    let Ok(text) = CString::new(text.as_bytes()) else {
        return false; // a path cannot have a NUL byte
    };
    // SAFETY: both are NUL-terminated strings that outlive the call, and
    // fnmatch keeps neither.
    unsafe { libc::fnmatch(pattern.as_ptr(), text.as_ptr(), flags) == 0 }
}

/// The paths below `root` that `pattern` names, sorted, as glob(3) with
/// `GLOB_NOESCAPE` finds them: wildcards in any component, never matching a
/// leading dot; a dangling symlink counts; what cannot be listed is empty.
///
/// Paths in the answer are absolute inside `root`.
pub fn expand(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        let wild = part.contains(['*', '?', '[']);
        let name = Pattern::new(part)?.0;
        let mut next = Vec::new();
        for directory in found {
            let real = below(root, &directory);
            if !wild {
                let path = directory.join(part);
                if below(root, &path).symlink_metadata().is_ok() {
                    next.push(path);
                }
                continue;
            }
            let Ok(entries) = std::fs::read_dir(&real) else {
                continue;
            };
            let flags = libc::FNM_NOESCAPE | libc::FNM_PATHNAME | libc::FNM_PERIOD;
            let names = entries.flatten().map(|entry| entry.file_name());
            next.extend(
                names
                    .filter(|entry| fnmatch(&name, entry, flags))
                    .map(|entry| directory.join(entry)),
            );
        }
        next.sort();
        found = next;
    }
    Ok(found)
}

/// Where `path`, absolute inside `root`, really lies.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    if root == Path::new("/") {
        return path.to_owned();
    }
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn excludes_mean_what_they_mean_to_supermin() {
        for (pattern, path, expected) in [
            ("/usr/share/doc/*", "/usr/share/doc/a/b", true),
            ("/usr/share/doc/*", "/usr/share/doc", false),
            ("/var", "/var/lib", false),
            ("*bash*", "/etc/.bash.d/x", true),
            ("/a\\*", "/a\\b", true),
            ("/[[:digit:]]", "/7", true),
        ] {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(
                pattern.matches(Path::new(path)),
                expected,
                "{pattern:?} {path}"
            );
        }
    }

    #[test]
    fn wildcards_work_in_any_component_but_skip_hidden_files() {
        let root = tempfile::tempdir().unwrap();
        for file in ["a/1/x.conf", "a/2/x.conf", "a/2/.y.conf", "a/.h/x.conf"] {
            let path = root.path().join(file);
            files::create_dir_all(path.parent().unwrap()).unwrap();
            files::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("/nowhere", root.path().join("a/dangling")).unwrap();
        let expand = |pattern| {
            let found = expand(root.path(), pattern).unwrap();
            found
                .into_iter()
                .map(|p| p.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(expand("/a/*/*.conf"), ["/a/1/x.conf", "/a/2/x.conf"]);
        assert_eq!(expand("/a/.h/x.conf"), ["/a/.h/x.conf"]);
        assert_eq!(expand("/a/dang*"), ["/a/dangling"]);
        assert_eq!(expand("/a/2/"), ["/a/2"]);
        assert!(expand("/b/*").is_empty());
    }
}
