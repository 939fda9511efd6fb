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

/// Whether February of `year` has 29 days.
pub fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

/// The year, the month (from 0) and the day of a time in seconds since 1970, in UTC.
pub fn date(time: u32) -> (u32, usize, u32) {
    let days = |year| 365 + u32::from(is_leap(year));
    let (mut year, mut rest) = (1970, time / 86400);
    while rest >= days(year) {
        rest -= days(year);
        year += 1;
    }
    let february = days(year) - 337;
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1)
}

/// The English names of the months, shortened as packages write them.
pub const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The English name of the day of the week, shortened, of a time in seconds
/// since 1970, in UTC.
pub fn weekday(time: u32) -> &'static str {
    ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][time as usize / 86400 % 7]
}

/// The time of the day, `HH:MM:SS`, in UTC.
pub fn clock(time: u32) -> String {
    let seconds = time % 86400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
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
