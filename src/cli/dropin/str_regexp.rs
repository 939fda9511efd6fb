//! Regular expressions as OCaml's `Str` has them, which supermin 4 takes.
//!
//! Source: <https://ocaml.org/manual/5.2/api/Str.html>: those of Emacs, with
//! `\(`, `\)` and `\|` for groups and alternatives.
#![allow(unsafe_code)] // regex(3) of the C library, as no crate here has `Str`'s meaning

use crate::{Error, Result};
use std::ffi::CString;

/// An expression that has to match the beginning of a text.
pub(super) struct Regexp(libc::regex_t);

impl Regexp {
    /// Compiles `text`.
    pub(super) fn new(text: &str) -> Result<Self> {
        let bad = || Error::input(format!("`{text}` is no regular expression"));
        let extended = CString::new(format!("^({})", extended(text))).map_err(|_| bad())?;
        // SAFETY: an all-zero regex_t is what regcomp fills in, and the text
        // ends with a NUL byte.
        unsafe {
            let mut compiled: libc::regex_t = std::mem::zeroed();
            let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
            match libc::regcomp(&raw mut compiled, extended.as_ptr(), flags) {
                0 => Ok(Self(compiled)),
                _ => Err(bad()),
            }
        }
    }

    /// Whether `text` begins with a match.
    pub(super) fn matches_start(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else {
            return false;
        };
        // SAFETY: `self` was compiled, and no matches are asked for.
        unsafe { libc::regexec(&raw const self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regexp {
    fn drop(&mut self) {
        // SAFETY: it was compiled, and nobody uses it after this.
        unsafe { libc::regfree(&raw mut self.0) }
    }
}

/// The same expression in the syntax of POSIX.
fn extended(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('(' | ')' | '|')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push_str("\\\\"),
            },
            '(' | ')' | '|' | '{' | '}' => out.extend(['\\', c]),
            '[' => {
                out.push('[');
                out.extend(chars.next_if_eq(&'^'));
                out.extend(chars.next_if_eq(&']'));
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_alternatives_have_backslashes() {
        for (regexp, text, expected) in [
            ("kernel", "kernel-core", true),
            ("kernel", "my-kernel", false),
            ("kernel$", "kernel-core", false),
            ("\\(foo\\|bar\\)-[0-9]+", "bar-12", true),
            ("foo|bar", "foo", false),
            ("a(b", "a(b", true),
            ("[]|]x", "|x", true),
            ("[^(]b*", "xbb", true),
            ("lib.*\\.so", "libx.so", true),
        ] {
            let found = Regexp::new(regexp).unwrap().matches_start(text);
            assert_eq!(found, expected, "{regexp} {text}");
        }
        for bad in ["[", "\\(", "a\0b"] {
            assert!(Regexp::new(bad).is_err(), "{bad}");
        }
    }
}
