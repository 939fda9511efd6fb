//! The first line of a script, and the commands that a shell script calls.
//!
//! Sources: execve(2), env(1), POSIX.1-2024 chapter "Shell Command Language".

use super::lexer::{Lexer, Token};
use std::collections::BTreeSet;

/// What the first line of a script asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shebang {
    /// The program that the kernel starts.
    pub(super) interpreter: String,
    /// The program that `env` then looks for in `PATH`.
    pub(super) command: Option<String>,
    /// Whether the line ends as on Windows, so that the kernel looks for an
    /// interpreter whose name ends in a carriage return.
    pub(super) carriage_return: bool,
}

/// The first line of the file that starts with `head`, if it is a script.
pub(super) fn shebang(head: &[u8]) -> Option<Shebang> {
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let carriage_return = line.ends_with('\r');
    let mut words = line.split_whitespace();
    let interpreter = words.next()?.to_owned();
    let command = (interpreter.rsplit('/').next() == Some("env"))
        .then(|| env_command(words))
        .flatten();
    Some(Shebang {
        interpreter,
        command,
        carriage_return,
    })
}

/// The program in the arguments of `env`: after options and assignments.
fn env_command<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut skip = false;
    for word in words {
        if std::mem::take(&mut skip) {
            continue;
        }
        match word {
            "-u" | "-C" | "--unset" | "--chdir" => skip = true,
            word if word.starts_with('-') || word.contains('=') => {}
            word => return Some(word.to_owned()),
        }
    }
    None
}

/// Words that a shell understands itself.
const BUILTIN: &str = " . : [ [[ alias bg break builtin case cd command compgen complete continue coproc declare dirs disown do \
    done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash help history if in jobs kill let \
    local logout mapfile popd printf pushd pwd read readarray readonly return select set shift shopt source suspend test \
    then time times trap true type typeset ulimit umask unalias unset until wait while { } ! ";

/// Words and options after which stands the name of a command that is looked
/// for, not called.
const LOOKS: [&str; 6] = ["-v", "-V", "-x", "-e", "type", "which"];

/// Words after which a command stands.
const BEFORE_COMMAND: [&str; 13] = [
    "if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "exec", "eval",
    "builtin",
];

/// The commands that a shell script, or a command line, calls by a plain name,
/// in the order of their first call.  Those that it looks for before
/// (`command -v X`, `[ -x X ]`), its own functions and what the shell does
/// itself are left out.  A guess, and one that rather misses a command than
/// makes one up.
pub(super) fn commands(text: &str) -> Vec<String> {
    let mut lexer = Lexer::new(text);
    let mut reader = Reader {
        expected: true,
        ..Reader::default()
    };
    while let Some(token) = lexer.next() {
        match token {
            Token::Separator(separator) => reader.separator(&separator),
            Token::Redirection => lexer.skip_target(),
            Token::Word { text, plain } => reader.word(text, plain),
        }
    }
    let mut seen = BTreeSet::new();
    let mut found = reader.found;
    found.retain(|name| !reader.left_out.contains(file_name(name)) && seen.insert(name.clone()));
    found
}

/// Where a script stands, as far as one has to know to tell commands from words.
#[derive(Debug, Default)]
struct Reader {
    /// Whether the next word is a command.
    expected: bool,
    /// The word before this one.
    before: String,
    /// For each `case` around: whether patterns come next.
    cases: Vec<bool>,
    found: Vec<String>,
    /// Names without directories.
    left_out: BTreeSet<String>,
}

impl Reader {
    fn separator(&mut self, separator: &str) {
        if let Some(patterns) = self.cases.last_mut() {
            match separator {
                ")" => *patterns = false,
                ";;" => *patterns = true,
                _ => {}
            }
        }
        // `name()` makes a function.
        if separator == "(" && !self.expected && self.found.last() == Some(&self.before) {
            self.left_out.insert(self.before.clone());
        }
        self.expected = true;
    }

    fn word(&mut self, text: String, plain: bool) {
        if self.before == "case" {
            // `case WORD in`, where WORD may be anything.
            if text == "in" {
                self.cases.push(true);
                self.before = text;
            }
            return;
        }
        if self.expected && text == "esac" {
            self.cases.pop();
            self.expected = false;
        } else if self.cases.last() == Some(&true) {
            // A pattern.
        } else if !self.expected {
            if LOOKS.contains(&self.before.as_str()) {
                self.left_out.insert(file_name(&text).to_owned());
            }
        } else if !(BEFORE_COMMAND.contains(&text.as_str()) || plain && is_assignment(&text)) {
            self.expected = false;
            if plain && is_name(&text) && !BUILTIN.split(' ').any(|builtin| builtin == text) {
                self.found.push(text.clone());
            }
        }
        self.before = text;
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether it looks like the name or the path of a program.
fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.+/".contains(c);
    text.chars().all(good) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
}

fn is_assignment(text: &str) -> bool {
    let name = text
        .split_once('=')
        .map(|(name, _)| name.trim_end_matches('+'));
    name.is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_lines() {
        let of = |text: &str| {
            let shebang = shebang(text.as_bytes())?;
            Some((
                shebang.interpreter,
                shebang.command,
                shebang.carriage_return,
            ))
        };
        let plain = |interpreter: &str, command: Option<&str>| {
            Some((interpreter.to_owned(), command.map(str::to_owned), false))
        };
        assert_eq!(of("#!/bin/sh -e\necho\n"), plain("/bin/sh", None));
        assert_eq!(
            of("#! /usr/bin/env python3\n"),
            plain("/usr/bin/env", Some("python3"))
        );
        assert_eq!(
            of("#!/usr/bin/env -S A=1 -u B perl -w"),
            plain("/usr/bin/env", Some("perl"))
        );
        assert_eq!(of("#!/bin/sh\r\n"), Some(("/bin/sh".into(), None, true)));
        assert_eq!(of("#!\n"), None);
        assert_eq!(of("echo"), None);
    }

    #[test]
    fn commands_of_scripts() {
        for (text, expected) in [
            ("echo \"Hello $(uname -r)\" | grep x", &["grep"][..]),
            (
                "A=1 B=2 python3 -c 'print(6*7); import x' >/dev/null 2>&1",
                &["python3"],
            ),
            (
                "if ! grep -q x f; then exec sed s/a/b/; fi",
                &["grep", "sed"],
            ),
            (
                "case $1 in\nstart|stop) gzip x ;;\n*) bzip2 y ;;\nesac\nxz z",
                &["gzip", "bzip2", "xz"],
            ),
            ("cat <<EOF\ngrep no\nEOF\nsed x", &["cat", "sed"]),
            ("helper() { awk 1; }\nhelper x\n", &["awk"]),
            ("command -v ip >/dev/null && ip link", &[]),
            ("[ -x /usr/bin/perl ] && /usr/bin/perl x", &[]),
            ("for file in a b; do wc $file; done # comment grep", &["wc"]),
            ("\"$program\" x; ./mine; /opt/x/y z; $x", &["/opt/x/y"]),
            ("a=$(grep x) ; b=`sed y`", &[]),
            (
                "cut -d: -f1 < /etc/passwd | sort > out; 3>file tr a b",
                &["cut", "sort", "tr"],
            ),
            ("while read -r x; do expr $x; done", &["expr"]),
        ] {
            assert_eq!(commands(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[ -~\n\té]{0,200}", more in "[$(){}`'\"<>|&;\\\\ a\n]{0,60}") {
            let _ = commands(&text);
            let _ = commands(&more);
            let _ = shebang(text.as_bytes());
        }
    }
}
