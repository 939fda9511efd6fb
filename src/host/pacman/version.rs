//! The order of pacman's versions, `[epoch:]version[-release]`.
//!
//! Source: vercmp(8).  It is an early form of rpm's order: without `~` and `^`,
//! and with `1.0rc` before `1.0`.

use crate::host::digits::number;
use std::cmp::Ordering;

/// Compares two versions as `vercmp` does; releases count only if both have one.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (epoch_a, version_a, release_a) = split(a);
    let (epoch_b, version_b, release_b) = split(b);
    part(epoch_a, epoch_b)
        .then_with(|| part(version_a, version_b))
        .then_with(|| match (release_a, release_b) {
            (Some(a), Some(b)) => part(a, b),
            _ => Ordering::Equal,
        })
}

/// Epoch (`0` if there is none), version and release.
fn split(text: &str) -> (&str, &str, Option<&str>) {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (epoch, rest) = match digits {
        Some(at) if text[at..].starts_with(':') => (&text[..at], &text[at + 1..]),
        _ => ("0", text),
    };
    let epoch = if epoch.is_empty() { "0" } else { epoch };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// Runs of digits and runs of letters, one after the other; what separates
/// them counts only by its length.
fn part(mut a: &str, mut b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    while !a.is_empty() && !b.is_empty() {
        let (gap_a, rest_a) = take(a, |c| !c.is_ascii_alphanumeric());
        let (gap_b, rest_b) = take(b, |c| !c.is_ascii_alphanumeric());
        (a, b) = (rest_a, rest_b);
        if a.is_empty() || b.is_empty() {
            break;
        }
        if gap_a.len() != gap_b.len() {
            return gap_a.len().cmp(&gap_b.len());
        }
        let numeric = a.starts_with(|c: char| c.is_ascii_digit());
        let same = |c: char| c.is_ascii_alphanumeric() && c.is_ascii_digit() == numeric;
        let (run_a, rest_a) = take(a, same);
        let (run_b, rest_b) = take(b, same);
        (a, b) = (rest_a, rest_b);
        let order = match (run_b.is_empty(), numeric) {
            // A number is newer than letters.
            (true, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, true) => number(run_a, run_b),
            (false, false) => run_a.cmp(run_b),
        };
        if order.is_ne() {
            return order;
        }
    }
    let letter = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        // What is left is newer, but letters at the end are older than nothing.
        (true, false) if letter(b) => Ordering::Greater,
        (true, false) => Ordering::Less,
        _ if letter(a) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn take(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// The two rows of vercmp(8), and what epochs and releases do.
    #[test]
    fn known_orders() {
        for row in [
            &[
                "1.0a", "1.0b", "1.0beta", "1.0p", "1.0pre", "1.0rc", "1.0", "1.0.a", "1.0.1",
            ][..],
            &["1", "1.0", "1.1", "1.1.1", "1.2", "2.0", "3.0.0"],
            &["9.9-9", "1:0.1-1", "1:0.1-2", "2:0-1"],
        ] {
            for pair in row.windows(2) {
                assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
                assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
            }
        }
        assert_eq!(compare("1.0", "1.0-5"), Ordering::Equal);
        assert_eq!(compare("0:1.01", "1.1"), Ordering::Equal);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn as_vercmp_says(a in "([0-2]?:)?[0-9a-b.+_]{0,8}(-[0-9a-b.]{0,4}){0,2}",
                          b in "([0-2]?:)?[0-9a-b.+_]{0,8}(-[0-9a-b.]{0,4}){0,2}") {
            // It takes what starts with `-` for an option.
            prop_assume!(!a.starts_with('-') && !b.starts_with('-'));
            prop_assume!(!a.is_empty() && !b.is_empty());
            let Ok(output) = Command::new("vercmp").args([&a, &b]).output() else {
                return Ok(()); // the package manager's tests say that it is missing
            };
            let expected = String::from_utf8_lossy(&output.stdout).trim().parse::<i32>();
            prop_assert_eq!(compare(&a, &b), expected.unwrap().cmp(&0), "{} {}", a, b);
        }
    }
}
