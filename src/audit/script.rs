//! The first line of a script, and the commands that a shell script calls.
//!
//! Sources: execve(2), env(1), POSIX.1-2024 chapter "Shell Command Language".

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
    let mut words = Lexer::new(text);
    let mut found: Vec<String> = Vec::new();
    let mut left_out = BTreeSet::new();
    let mut expected = true;
    let mut before = String::new();
    // How deep in `case … esac`, and whether patterns come next.
    let mut cases: Vec<bool> = Vec::new();
    while let Some(token) = words.next() {
        match token {
            Token::Separator(separator) => {
                if let Some(patterns) = cases.last_mut() {
                    match separator.as_str() {
                        ")" => *patterns = false,
                        ";;" => *patterns = true,
                        _ => {}
                    }
                }
                // `name()` makes a function.
                if separator == "(" && !expected && found.last() == Some(&before) {
                    left_out.insert(before.clone());
                }
                expected = true;
            }
            Token::Redirection => expected = words.skip_target() && expected,
            Token::Word { text, plain } => {
                if text == "esac" && expected {
                    cases.pop();
                    expected = false;
                } else if text == "in" && before_is_case(&before) {
                    before.clear();
                    cases.push(true);
                } else if cases.last() == Some(&true) {
                    // A pattern.
                } else if text == "case" && expected {
                    before = "case".into();
                    expected = false;
                    continue;
                } else if before_is_case(&before) {
                    continue; // the word that `case` is about
                } else if expected && (text == "for" || text == "select" || text == "function") {
                    expected = false;
                } else if expected && BEFORE_COMMAND.contains(&text.as_str()) {
                    // Still expected.
                } else if expected && plain && is_assignment(&text) {
                    // Still expected.
                } else if expected {
                    expected = false;
                    if plain && is_name(&text) && !BUILTIN.contains(&format!(" {text} ")) {
                        found.push(text.clone());
                    }
                } else if ["-v", "-V", "-x", "-e", "type", "which"].contains(&before.as_str()) {
                    left_out.insert(text.rsplit('/').next().unwrap_or(&text).to_owned());
                }
                before = text;
            }
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|name| {
        let short = name.rsplit('/').next().unwrap_or(name);
        !left_out.contains(short) && seen.insert(name.clone())
    });
    found
}

fn before_is_case(before: &str) -> bool {
    before == "case"
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

enum Token {
    /// A word without its quotes; plain if nothing in it is expanded.
    Word { text: String, plain: bool },
    /// What ends a command.
    Separator(String),
    /// `<`, `>` and their relatives; a target follows.
    Redirection,
}

struct Lexer<'a> {
    rest: &'a str,
    /// The delimiters of here-documents that start at the next line.
    documents: Vec<String>,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            documents: Vec::new(),
        }
    }

    fn next(&mut self) -> Option<Token> {
        loop {
            let first = self.rest.chars().next()?;
            match first {
                ' ' | '\t' | '\r' => self.advance(1),
                '\\' if self.rest.starts_with("\\\n") => self.advance(2),
                '#' => self.advance(self.rest.find('\n').unwrap_or(self.rest.len())),
                '\n' => {
                    self.advance(1);
                    self.skip_documents();
                    return Some(Token::Separator("\n".into()));
                }
                ';' | '&' | '|' | '(' | ')' => {
                    let double = self.rest[1..].starts_with(first);
                    let length = if double && "(".contains(first) {
                        1
                    } else {
                        1 + usize::from(double)
                    };
                    let text = self.rest[..length].to_owned();
                    self.advance(length);
                    return Some(Token::Separator(text));
                }
                '<' | '>' => {
                    self.redirection();
                    return Some(Token::Redirection);
                }
                _ => return Some(self.word()),
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    /// Takes the operator, and notes the delimiter of a here-document.
    fn redirection(&mut self) {
        let document = self.rest.starts_with("<<") && !self.rest.starts_with("<<<");
        let length = self
            .rest
            .find(|c| !"<>&|-".contains(c))
            .unwrap_or(self.rest.len());
        self.advance(length);
        if document {
            let mut ahead = Lexer::new(self.rest);
            ahead.advance(ahead.rest.len() - ahead.rest.trim_start_matches([' ', '\t']).len());
            if let Token::Word { text, .. } = ahead.word() {
                self.documents.push(text);
            }
        }
    }

    /// Takes the word after a redirection; always true.
    fn skip_target(&mut self) -> bool {
        let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.advance(blanks);
        if !self.rest.starts_with(['\n', ';', '&', '|', ')', '(']) && !self.rest.is_empty() {
            self.word();
        }
        true
    }

    fn skip_documents(&mut self) {
        for delimiter in std::mem::take(&mut self.documents) {
            while !self.rest.is_empty() {
                let line = self.rest.split('\n').next().unwrap_or("");
                self.advance(line.len() + 1);
                if line.trim_start_matches('\t') == delimiter {
                    break;
                }
            }
        }
    }

    fn word(&mut self) -> Token {
        let mut text = String::new();
        let mut plain = true;
        let mut chars = self.rest.char_indices().peekable();
        let mut end = self.rest.len();
        // What is inside of `"…"`, `$(…)` or `${…}` belongs to the word.
        let mut quote = None;
        let mut depth = 0usize;
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (Some('\''), c) => text.push(c),
                (_, '\\') => {
                    if let Some((_, c)) = chars.next()
                        && c != '\n'
                    {
                        text.push(c);
                    }
                }
                (_, '`') => plain = false,
                (_, '$') => {
                    plain = false;
                    if let Some((_, '(' | '{')) = chars.peek() {
                        chars.next();
                        depth += 1;
                    }
                }
                (_, ')' | '}') if depth > 0 => depth -= 1,
                (_, '(' | '{') if depth > 0 => depth += 1,
                (Some(_), c) => text.push(c),
                (None, '\'' | '"') if depth == 0 => quote = Some(c),
                (None, c) if depth == 0 && " \t\r\n;&|()<>".contains(c) => {
                    end = at;
                    break;
                }
                (None, c) => {
                    plain &= !"*?[]~".contains(c);
                    text.push(c);
                }
            }
        }
        self.advance(end);
        // `2>` is a redirection of descriptor 2.
        if self.rest.starts_with(['<', '>'])
            && !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_digit())
        {
            self.redirection();
            return Token::Redirection;
        }
        Token::Word { text, plain }
    }
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
