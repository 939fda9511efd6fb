//! What sysusers.d(5), tmpfiles.d(5) and unit files have in common: words with
//! quotes, and specifiers.

use crate::host::OsRelease;

/// The first `limit` words of a line and the rest of it; `None` if a quote is
/// not closed.
///
/// As systemd splits: at blanks, `"…"` and `'…'` hold blanks, a backslash
/// stands before what is to be taken as it is.
pub(super) fn split(line: &str, limit: usize) -> Option<(Vec<String>, &str)> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while words.len() < limit && !rest.is_empty() {
        let mut word = String::new();
        let mut quote = None;
        let mut chars = rest.char_indices();
        let end = loop {
            let Some((at, c)) = chars.next() else {
                if quote.is_some() {
                    return None;
                }
                break rest.len();
            };
            match (c, quote) {
                ('\\', _) => word.push(chars.next()?.1),
                (c, Some(open)) if c == open => quote = None,
                ('"' | '\'', None) => quote = Some(c),
                (c, None) if c.is_whitespace() => break at,
                (c, _) => word.push(c),
            }
        };
        words.push(word);
        rest = rest[end..].trim_start();
    }
    Some((words, rest))
}

/// The lines that say something, without comments and blanks around them.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// `text` with its specifiers filled in; `None` if one stands for what only the
/// running guest knows, such as `%m` or `%b`.
pub(super) fn expand(text: &str, os: &OsRelease) -> Option<String> {
    let mut expanded = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        expanded.push_str(match chars.next()? {
            '%' => "%",
            'o' => &os.id,
            'w' => &os.version,
            'a' => systemd_architecture(),
            'S' => "/var/lib",
            'C' => "/var/cache",
            'L' => "/var/log",
            't' => "/run",
            'T' => "/tmp",
            'V' => "/var/tmp",
            'h' => "/root",
            'u' | 'g' => "root",
            'U' | 'G' => "0",
            _ => return None,
        });
    }
    Some(expanded)
}

/// The architecture in the words of systemd.
fn systemd_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `text` with the escapes of C undone; what is no escape stays as it is.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            plain.push('\\');
            break;
        };
        rest = &rest[c.len_utf8()..];
        match c {
            'n' => plain.push('\n'),
            't' => plain.push('\t'),
            'r' => plain.push('\r'),
            's' => plain.push(' '),
            '\\' | '"' | '\'' => plain.push(c),
            'x' => match rest.get(..2).map(|hex| u8::from_str_radix(hex, 16)) {
                Some(Ok(byte)) if byte.is_ascii() => {
                    plain.push(char::from(byte));
                    rest = &rest[2..];
                }
                _ => plain.push_str("\\x"),
            },
            c => {
                plain.push('\\');
                plain.push(c);
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_have_quotes_and_a_rest() {
        let words = |line, limit| {
            let (words, rest) = split(line, limit)?;
            Some((words.join("|"), rest.to_owned()))
        };
        let expected = |words: &str, rest: &str| Some((words.to_owned(), rest.to_owned()));
        assert_eq!(words("u a - \"A B\" /x", 9), expected("u|a|-|A B|/x", ""));
        assert_eq!(
            words("f /a 'b'  \"as is\" ", 3),
            expected("f|/a|b", "\"as is\" ")
        );
        assert_eq!(words(r"a\ b", 1), expected("a b", ""));
        assert_eq!(words("u \"a", 3), None);
    }

    #[test]
    fn specifiers_are_filled_in_where_they_are_known() {
        let os = OsRelease {
            id: "fedora".into(),
            ..OsRelease::default()
        };
        assert_eq!(expand("/%o/%%", &os).as_deref(), Some("/fedora/%"));
        assert_eq!(
            expand("%S/x%C", &os).as_deref(),
            Some("/var/lib/x/var/cache")
        );
        for unknown in ["/var/log/journal/%m", "%", "%b", "%q"] {
            assert_eq!(expand(unknown, &os), None);
        }
    }

    #[test]
    fn escapes_are_those_of_c() {
        assert_eq!(unescape(r"a\nb\x41\\n\q\"), "a\nbA\\n\\q\\");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC*", limit in 0usize..8) {
            let _ = (split(&text, limit), expand(&text, &OsRelease::default()), unescape(&text));
        }

        #[test]
        fn plain_words_are_whitespace_words(text in "[a-z ]{0,40}") {
            let (words, rest) = split(&text, 99).unwrap();
            prop_assert_eq!(words, text.split_whitespace().collect::<Vec<_>>());
            prop_assert_eq!(rest, "");
        }
    }
}
