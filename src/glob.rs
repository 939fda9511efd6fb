//! Patterns with the meaning that glibc gives them, as supermin's users know it.

use crate::{Error, Result};
use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A pattern of fnmatch(3) with `FNM_NOESCAPE` alone: `*` and `?` match `/` and
/// leading dots, a backslash is a backslash, and the whole path has to match.
#[derive(Debug, Clone)]
pub struct Pattern(CString);

impl Pattern {
    /// A pattern; one with a NUL byte is an error.
    pub fn new(text: impl AsRef<OsStr>) -> Result<Self> {
        let text = text.as_ref();
        CString::new(text.as_bytes()).map(Self).map_err(|e| {
            Error::input(format!(
                "the pattern `{}` has a NUL byte",
                text.to_string_lossy().escape_debug()
            ))
            .caused_by(e)
        })
    }

    /// Whether the pattern matches all of `path`.
    pub fn matches(&self, path: impl AsRef<OsStr>) -> bool {
        fnmatch(&self.0, path.as_ref(), libc::FNM_NOESCAPE)
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

/// What the wildcards of a host file mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wildcards {
    /// As in glob(3) with `GLOB_NOESCAPE`: `*`, `?` and `[...]` in any
    /// component, never matching a leading dot.
    #[default]
    Glob,
    /// As in supermin 4: only in the last component, and only if it has `*` or
    /// `?` (then `[...]` too); leading dots match.
    Supermin4,
}

/// The directories of a host, each listed at most once however many patterns
/// look into it.
#[derive(Debug)]
pub struct Directories {
    root: PathBuf,
    /// The names in each directory, by its path inside the root; empty where
    /// it cannot be listed.
    listed: HashMap<PathBuf, Vec<OsString>>,
}

impl Directories {
    /// Those of the system below `root`; nothing is read yet.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            listed: HashMap::new(),
        }
    }

    /// The paths that `pattern` names, in byte order, absolute inside the root.
    ///
    /// A dangling symlink counts; what cannot be listed is empty; a slash at
    /// the end asks for a directory.  Other than for glibc, `.` and `..` match
    /// no wildcard: `/etc/skel/.*` would take in all of `/etc` through them.
    pub fn expand(&mut self, pattern: impl AsRef<OsStr>, wild: Wildcards) -> Result<Vec<PathBuf>> {
        let pattern = pattern.as_ref().as_bytes();
        let parts: Vec<&OsStr> = pattern
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .map(OsStr::from_bytes)
            .collect();
        let mut found = vec![PathBuf::from("/")];
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            found = self.step(found, part, last, wild)?;
        }
        if pattern.ends_with(b"/") {
            found.retain(|path| below(&self.root, path).is_dir());
        }
        found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        Ok(found)
    }

    /// What `part` names in each directory of `found`.
    fn step(
        &mut self,
        found: Vec<PathBuf>,
        part: &OsStr,
        last: bool,
        wild: Wildcards,
    ) -> Result<Vec<PathBuf>> {
        let has = |wanted: &[u8]| part.as_bytes().iter().any(|byte| wanted.contains(byte));
        let flags = match wild {
            Wildcards::Glob if has(b"*?[") => libc::FNM_NOESCAPE | libc::FNM_PERIOD,
            Wildcards::Supermin4 if last && has(b"*?") => libc::FNM_NOESCAPE,
            _ => {
                let paths = found.into_iter().map(|directory| directory.join(part));
                let there = |path: &PathBuf| below(&self.root, path).symlink_metadata().is_ok();
                return Ok(paths.filter(there).collect());
            }
        };
        let pattern = Pattern::new(part)?.0;
        let mut next = Vec::new();
        for directory in found {
            let names = self.names(&directory).iter();
            let matching = names.filter(|name| fnmatch(&pattern, name, flags));
            next.extend(matching.map(|name| directory.join(name)));
        }
        Ok(next)
    }

    fn names(&mut self, directory: &Path) -> &[OsString] {
        let real = below(&self.root, directory);
        self.listed
            .entry(directory.to_owned())
            .or_insert_with(|| match std::fs::read_dir(real) {
                Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
                Err(_) => Vec::new(),
            })
    }
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
    use proptest::prelude::*;
    use std::ffi::CStr;

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

    /// A root with these files, and what a pattern finds in it.
    fn root(names: &[&str]) -> (tempfile::TempDir, Directories) {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            let path = root.path().join(name);
            files::create_dir_all(path.parent().unwrap()).unwrap();
            files::write(path, "").unwrap();
        }
        let directories = Directories::new(root.path());
        (root, directories)
    }

    fn texts(paths: Vec<PathBuf>) -> Vec<String> {
        let texts = paths.into_iter().map(|path| path.display().to_string());
        texts.collect()
    }

    #[test]
    fn wildcards_work_in_any_component_but_skip_hidden_files() {
        let (root, mut directories) =
            root(&["a/1/x.conf", "a/2/x.conf", "a/2/.y.conf", "a/.h/x.conf"]);
        std::os::unix::fs::symlink("/nowhere", root.path().join("a/dangling")).unwrap();
        let mut expand = |pattern| texts(directories.expand(pattern, Wildcards::Glob).unwrap());
        assert_eq!(expand("/a/*/*.conf"), ["/a/1/x.conf", "/a/2/x.conf"]);
        assert_eq!(expand("/a/.h/x.conf"), ["/a/.h/x.conf"]);
        assert_eq!(expand("/a/dang*"), ["/a/dangling"]);
        assert_eq!(expand("/a/2/"), ["/a/2"]);
        assert_eq!(expand("/a/1/x.conf/"), [""; 0]);
        assert!(expand("/b/*").is_empty());
    }

    /// What the real supermin-helper 4.1.6 was seen to put in.
    #[test]
    fn wildcards_of_supermin_4() {
        let (_root, mut directories) = root(&[
            "d/a.conf",
            "d/.h.conf",
            "d/b*c",
            "d/b\\xc",
            "d/x[1]",
            "d/x1",
            "d/q?",
            "d/sub/x",
        ]);
        let mut expand =
            |pattern| texts(directories.expand(pattern, Wildcards::Supermin4).unwrap());
        assert_eq!(expand("/d/*.conf"), ["/d/.h.conf", "/d/a.conf"]);
        assert_eq!(expand("/d/b\\*c"), ["/d/b\\xc"]);
        assert_eq!(expand("/d/x[1]"), ["/d/x[1]"]);
        assert_eq!(expand("/d/x[1]*"), ["/d/x1"]);
        assert_eq!(expand("/*/x"), [""; 0]);
        assert_eq!(expand("/d/nothing"), [""; 0]);
        assert_eq!(expand("/nothing/*"), [""; 0]);
    }

    #[test]
    fn every_directory_is_listed_once() {
        let (root, mut directories) = root(&["a/1", "a/2"]);
        let before = directories.expand("/a/*", Wildcards::Glob).unwrap();
        files::write(root.path().join("a/3"), "").unwrap();
        // The new file is not seen, so the directory was not read again.
        let after = directories.expand("/a/[0-9]", Wildcards::Glob).unwrap();
        assert_eq!(before, after);
    }

    /// The answer of the C library's glob(3), without `.` and `..`.
    #[allow(unsafe_code)]
    fn glob_3(pattern: &str) -> Vec<String> {
        let pattern = CString::new(pattern).unwrap();
        // SAFETY: an all-zero glob_t is what glob(3) wants; the strings that it
        // points to are copied before globfree.
        unsafe {
            let mut found: libc::glob_t = std::mem::zeroed();
            // GLOB_NOESCAPE of glibc.
            let status = libc::glob(pattern.as_ptr(), 1 << 6, None, &raw mut found);
            let count = if status == 0 { found.gl_pathc } else { 0 };
            let paths = (0..count).map(|at| {
                let path = CStr::from_ptr(*found.gl_pathv.add(at));
                path.to_str().unwrap().to_owned()
            });
            let paths: Vec<String> = paths.collect();
            libc::globfree(&raw mut found);
            let dots = |path: &String| path.split('/').any(|part| part == "." || part == "..");
            paths.into_iter().filter(|path| !dots(path)).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn as_glibc_has_it(
            names in proptest::collection::vec("([.]?[ab*\\[\\\\-]{1,2}/){0,2}[.]?[ab\\]?]{1,2}", 1..12),
            links in proptest::collection::vec("[ab]{1,2}", 0..3),
            patterns in proptest::collection::vec(
                "(/{1,2}([.]?[ab*?\\\\-]{1,2}|\\[[ab!.-]{1,2}\\]|\\[a|[ab]\\])){1,3}/{0,2}", 1..8))
        {
            let root = tempfile::tempdir().unwrap();
            for name in names {
                let path = root.path().join(&name);
                // A name may be a directory already, or its parent a file.
                if std::fs::DirBuilder::new().recursive(true).create(path.parent().unwrap()).is_ok() {
                    let _ = std::fs::File::create(path);
                }
            }
            for link in links {
                let target = if link.len() == 1 { "aa" } else { "nowhere" };
                let _ = std::os::unix::fs::symlink(target, root.path().join(link));
            }
            let mut directories = Directories::new(root.path());
            let prefix = root.path().to_str().unwrap();
            for pattern in patterns {
                let expected = glob_3(&format!("{prefix}{pattern}"));
                let ours = directories.expand(&pattern, Wildcards::Glob).unwrap();
                let mut expected: Vec<PathBuf> = expected.iter().map(|path| {
                    // glibc keeps the slashes that the pattern has.
                    let path: PathBuf = Path::new(&path[prefix.len()..]).components().collect();
                    path
                }).collect();
                if pattern.ends_with('/') {
                    // glibc takes a file for a directory after a wildcard.
                    expected.retain(|path| below(root.path(), path).is_dir());
                }
                expected.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
                prop_assert_eq!(ours, expected, "{}", pattern);
            }
        }
    }
}
