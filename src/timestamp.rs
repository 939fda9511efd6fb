//! The one time that goes into outputs, so that building twice gives the same bytes.

use crate::{Error, Result};

/// Seconds since 1970 that outputs carry: the value of `SOURCE_DATE_EPOCH`, or
/// where it is unset, `otherwise`.
///
/// Source: <https://reproducible-builds.org/specs/source-date-epoch/>.
pub fn source_date_epoch(otherwise: u32) -> Result<u32> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => parse(&text),
        Err(_) => Ok(otherwise),
    }
}

fn parse(text: &str) -> Result<u32> {
    text.parse().map_err(|_| {
        Error::input(format!("SOURCE_DATE_EPOCH is `{text}`"))
            .hint("set it to a whole number of seconds since 1970, or unset it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_are_accepted() {
        assert_eq!(parse("1700000000").unwrap(), 1_700_000_000);
        for bad in ["", "-1", "now", "1.5", "99999999999"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
