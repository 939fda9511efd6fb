//! The lists of a skeleton: packages, host files, excludes.
//!
//! What supermin takes keeps its meaning.  What supermin refuses or loses
//! without a word (comments at the beginning, line ends of DOS, blanks around
//! a name) is accepted, with a notice.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The lines of a list that mean something.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines<'a> {
    /// The lines, without their ends.
    pub(super) lines: Vec<&'a OsStr>,
    /// What was passed over that supermin would not pass over: the rest of a
    /// sentence that begins with the file's name.
    pub(super) notices: Vec<&'static str>,
}

/// The lines of a list.
///
/// Blank lines, and those that start with `#`, are left out: neither can be a
/// package, a path or an exclude.
pub(super) fn lines(content: &[u8]) -> Lines<'_> {
    let mut notices = Vec::new();
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    if text.len() < content.len() {
        notices.push("begins with a byte order mark, which is ignored");
    }
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    // A single name may end so; a list whose lines all do comes from DOS.
    let whole = || lines.iter().filter(|line| !line.is_empty());
    if whole().next().is_some() && whole().all(|line| line.ends_with(b"\r")) {
        notices.push("has the line ends of DOS, which are ignored");
        for line in &mut lines {
            *line = line.strip_suffix(b"\r").unwrap_or(line);
        }
    }
    if lines
        .first()
        .is_some_and(|line| means_nothing(line) && text.len() > 1)
    {
        notices.push("begins with a blank line or a comment, which supermin 5 refuses");
    }
    lines.retain(|line| !means_nothing(line));
    let mut blanks = false;
    for line in &mut lines {
        let mut trimmed = line.trim_ascii_start();
        // A path may end in a blank; the name of a package may not.
        if trimmed.first().is_some_and(u8::is_ascii_alphanumeric) {
            trimmed = trimmed.trim_ascii_end();
        }
        blanks |= trimmed.len() < line.len();
        *line = trimmed;
    }
    if blanks {
        notices.push("has blanks around a name, which are ignored");
    }
    Lines {
        lines: lines.into_iter().map(OsStr::from_bytes).collect(),
        notices,
    }
}

fn means_nothing(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b"#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_means_something_is_left() {
        for (content, expected, notices) in [
            (&b"bash\ncoreutils\n"[..], &["bash", "coreutils"][..], 0),
            (b"bash\n\n# more\nless", &["bash", "less"], 0),
            (b"", &[], 0),
            (b"\xef\xbb\xbfbash\n", &["bash"], 1),
            (b"# the list\nbash\n", &["bash"], 1),
            (b"\r\n/etc/a\r\n/etc/b\r\n", &["/etc/a", "/etc/b"], 2),
            (b"/etc/a\r\n/etc/b\n", &["/etc/a\r", "/etc/b"], 0),
            (b"bash \n less\n/etc/a \n", &["bash", "less", "/etc/a "], 1),
        ] {
            let found = lines(content);
            assert_eq!(found.lines, expected);
            assert_eq!(found.notices.len(), notices, "{found:?}");
        }
        assert_eq!(lines(b"/\xff\n").lines, [OsStr::from_bytes(b"/\xff")]);
    }

    proptest! {
        /// Lines as supermin takes them come out as they went in.
        #[test]
        fn ordinary_lists_are_untouched(names in proptest::collection::vec("[/a-z-][^\r\n]{0,20}[^ \t\r\n\x0b\x0c]", 1..20)) {
            let text = names.join("\n") + "\n";
            let found = lines(text.as_bytes());
            let expected: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
            prop_assert_eq!(found, Lines { lines: expected, notices: vec![] });
        }
    }
}
