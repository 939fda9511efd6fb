//! The order of Alpine's versions.
//!
//! Source: the package policies in Alpine's wiki and apk-world(5):
//! `digits{.digits}{letter}{_suffix{number}}{~hash}{-r#}`.

use std::cmp::Ordering;

/// One part of a version.  Where two versions differ first, the kinds of their
/// parts decide, in the order in which they stand here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// `_alpha`, `_beta`, `_pre`, `_rc`: before the version itself.
    Before(usize, Number<'a>),
    /// The version ends.
    End,
    /// `-r1`
    Revision(Number<'a>),
    /// `_cvs`, `_svn`, `_git`, `_hg`, `_p`: after the version itself.
    After(usize, Number<'a>),
    Letter(char),
    /// A number after a dot that starts with 0 is a decimal fraction.
    Fraction(&'a str),
    Number(Number<'a>),
    /// What no version should have.
    Other(&'a str),
}

/// Digits of a number of any length, compared by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number<'a>(usize, &'a str);

const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// Compares two versions as `apk version -t` does.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (parts(a), parts(b));
    loop {
        let pair = (a.next(), b.next());
        let order = match pair {
            (None, None) => return Ordering::Equal,
            // Two numbers of one place compare as numbers unless one is a fraction.
            (Some(Part::Fraction(a)), Some(Part::Number(b))) => a.cmp(b.1),
            (Some(Part::Number(a)), Some(Part::Fraction(b))) => a.1.cmp(b),
            (a, b) => a.unwrap_or(Part::End).cmp(&b.unwrap_or(Part::End)),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Whether `version` begins with all parts of `prefix`, as `~` asks.
pub(super) fn begins_with(version: &str, prefix: &str) -> bool {
    let mut parts_of_version = parts(version);
    parts(prefix).all(|part| parts_of_version.next() == Some(part))
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (after, dotted) = match rest.strip_prefix('.') {
            Some(after) => (after, true),
            None => (rest, false),
        };
        if after.starts_with(|c: char| c.is_ascii_digit()) {
            let (digits, next) = take(after, |c| c.is_ascii_digit());
            rest = next;
            return Some(if dotted && digits.starts_with('0') && digits.len() > 1 {
                Part::Fraction(digits)
            } else {
                Part::Number(number(digits))
            });
        }
        if let Some(suffix) = rest.strip_prefix('_') {
            let (name, next) = take(suffix, |c| c.is_ascii_alphabetic());
            let (digits, next) = take(next, |c| c.is_ascii_digit());
            let rank = |names: &[&str]| names.iter().position(|known| *known == name);
            let part = match (rank(&BEFORE), rank(&AFTER)) {
                (Some(rank), _) => Part::Before(rank, number(digits)),
                (_, Some(rank)) => Part::After(rank, number(digits)),
                _ => return Some(Part::Other(std::mem::take(&mut rest))),
            };
            rest = next;
            return Some(part);
        }
        if let Some(revision) = rest.strip_prefix("-r")
            && revision.starts_with(|c: char| c.is_ascii_digit())
        {
            let (digits, next) = take(revision, |c| c.is_ascii_digit());
            rest = next;
            return Some(Part::Revision(number(digits)));
        }
        if first.is_ascii_alphabetic() {
            rest = &rest[1..];
            return Some(Part::Letter(first));
        }
        Some(Part::Other(std::mem::take(&mut rest)))
    })
}

fn number(digits: &str) -> Number<'_> {
    let digits = digits.trim_start_matches('0');
    Number(digits.len(), digits)
}

fn take(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_orders() {
        let row = [
            "1.2_alpha1",
            "1.2_alpha2-r3",
            "1.2_beta",
            "1.2_rc1",
            "1.2",
            "1.2-r0",
            "1.2-r10",
            "1.2_git20240101",
            "1.2_p1-r0",
            "1.2a",
            "1.2.01",
            "1.2.1",
            "1.2.9",
            "1.10",
            "2",
        ];
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_prefix_ends_between_parts() {
        assert!(begins_with("1.36.1-r5", "1.36"));
        assert!(begins_with("1.36", "1.36"));
        assert!(!begins_with("1.361", "1.36"));
        assert!(!begins_with("1", "1.36"));
    }

    proptest! {
        #[test]
        fn any_text_has_an_order(a in "[0-2.]{0,4}[a-c]?(_(rc|p|x)[0-9]?)?(~[0-9a-f]{2})?(-r[0-9])?|\\PC{0,20}",
                                 b in "[0-2.]{0,4}[a-c]?(_(rc|p|x)[0-9]?)?(-r[0-9])?|\\PC{0,20}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            begins_with(&a, &b);
        }
    }
}
