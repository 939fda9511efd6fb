//! Numbers in versions, which may have any length.

use std::cmp::Ordering;

/// Compares two runs of digits by value; an empty one is 0.
pub(super) fn number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
