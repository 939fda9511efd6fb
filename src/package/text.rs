//! What an author writes in paragraphs, as package managers want it.

/// Debian's extended description: each line after a space, empty ones as ` .`.
///
/// Source: Debian Policy 5.6.13.
pub(super) fn extended(text: &str) -> String {
    let lines = lines(text, 76).into_iter().map(|line| {
        match line.chars().next() {
            None => " .\n".to_owned(),
            // A line that is more than a full stop, but begins with one, must not
            // be; with another space it is shown as it is.
            Some('.') => format!("  {line}\n"),
            Some(_) => format!(" {line}\n"),
        }
    });
    lines.collect()
}

/// The description of an RPM package.
pub(super) fn plain(text: &str) -> String {
    // A line of a spec file that begins with `%files` and the like begins a
    // section, wherever it stands.
    let lines = lines(text, 79)
        .into_iter()
        .map(|line| match line.chars().next() {
            Some('%') => format!(" {line}"),
            _ => line,
        });
    lines.collect::<Vec<_>>().join("\n")
}

/// The paragraphs of `text` in lines of at most `width` characters, if they fit,
/// with an empty one between two paragraphs.
fn lines(text: &str, width: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut paragraph = String::new();
    // A line that looks empty is.
    for line in text.lines().map(str::trim).chain([""]) {
        if !line.is_empty() {
            paragraph.push_str(line);
            paragraph.push('\n');
        } else if !paragraph.is_empty() {
            found.extend((!found.is_empty()).then(String::new));
            found.extend(wrap(&std::mem::take(&mut paragraph), width));
        }
    }
    found
}

/// Words in lines of at most `width` characters, if they fit.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_that_look_empty_are_and_none_adds_a_field() {
        assert_eq!(extended("a\n\nb\nEvil: field"), " a\n .\n b Evil: field\n");
        assert_eq!(extended("\n \na\n \t \n\n\nb\n  \n"), " a\n .\n b\n");
        assert_eq!(plain("\n \na\n \t \n\n\nb\n  \n"), "a\n\nb");
        assert_eq!(extended("a\r\n\r\nb"), " a\n .\n b\n");
        assert_eq!(extended(" \n"), "");
    }

    #[test]
    fn lines_that_mean_something_are_moved_in() {
        assert_eq!(extended(".\n\n.profile\n"), "  .\n .\n  .profile\n");
        assert_eq!(plain("%files\n\n%post"), " %files\n\n %post");
    }

    proptest! {
        #[test]
        fn every_extended_description_is_one_field(text in "([ a.%\\t\\r\\n\u{85}\u{a0}\u{2028}]|[a-z.]{1,90}|\\PC){0,60}") {
            let field = extended(&text);
            for line in field.split_terminator('\n') {
                let rest = line.strip_prefix(' ');
                prop_assert!(rest.is_some_and(|rest| !rest.trim().is_empty()), "{line:?}");
                prop_assert!(line == " ." || !line.starts_with(" ."), "{line:?}");
                prop_assert!(!line.contains(['\r', '\t']), "{line:?}");
            }
            let written: Vec<&str> = text.split_whitespace().collect();
            let kept: Vec<&str> = field.split_whitespace().filter(|word| *word != ".").collect();
            let words: Vec<&str> = written.into_iter().filter(|word| *word != ".").collect();
            prop_assert_eq!(kept, words);
        }
    }
}
