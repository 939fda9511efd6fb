//! What a value may be: pure functions, each with the reason it gives.

use super::decode::Fault;
use super::{Date, Maintainer};
use crate::timestamp;
use std::path::{Component, Path};

fn fault(what: impl Into<String>, help: impl Into<String>) -> Result<(), Fault> {
    Err(Fault(what.into(), help.into()))
}

/// Anything.
pub(super) fn anything(_: &str) -> Result<(), Fault> {
    Ok(())
}

/// A name that Debian and RPM both take, and that is safe as a file name.
///
/// Debian Policy 5.6.1: lower case letters, digits, `+`, `-`, `.`; at least
/// two characters; starts with a letter or digit.
pub(super) fn name(text: &str) -> Result<(), Fault> {
    const HELP: &str =
        "use lower-case letters, digits, `+`, `-` and `.`, for example `my-appliance`";
    let first = text.chars().next();
    if text.len() < 2 || text.len() > 64 {
        return fault(format!("`{text}` is not 2 to 64 characters long"), HELP);
    }
    if let Some(bad) = text
        .chars()
        .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(*c)))
    {
        return fault(
            format!("`{text}` has the character `{}`", bad.escape_debug()),
            HELP,
        );
    }
    if !first.is_some_and(|c| c.is_ascii_alphanumeric()) {
        return fault(
            format!("`{text}` does not start with a letter or digit"),
            HELP,
        );
    }
    Ok(())
}

/// Whether it is a name of a package of any family, upper case and `_` included.
pub(super) fn is_package(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "+-._:()/".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(good)
}

/// Whether a name is what a package of RPM provides, and not a package's own.
pub fn is_capability(name: &str) -> bool {
    name.contains(['(', ')', '/'])
}

/// A version for both families: no `-`, which separates the release.
pub(super) fn version(text: &str) -> Result<(), Fault> {
    const HELP: &str = "start with a digit; then letters, digits, `.`, `+` and `~`; no `-`, which separates the release";
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return fault(format!("`{text}` does not start with a digit"), HELP);
    }
    characters(text, HELP)
}

/// A release for both families.
pub(super) fn release(text: &str) -> Result<(), Fault> {
    const HELP: &str = "use a number such as 1, or letters, digits, `.`, `+` and `~`";
    if text.is_empty() {
        return fault("it is empty", HELP);
    }
    characters(text, HELP)
}

fn characters(text: &str, help: &str) -> Result<(), Fault> {
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !".+~".contains(*c))
    {
        Some(bad) => fault(
            format!("`{text}` has the character `{}`", bad.escape_debug()),
            help,
        ),
        None => Ok(()),
    }
}

/// One line without a full stop.
pub(super) fn summary(text: &str) -> Result<(), Fault> {
    one_line(text)?;
    if text.chars().count() > 79 {
        return fault(
            "it is longer than 79 characters",
            "shorten it; the rest belongs into `description`",
        );
    }
    if text.ends_with('.') {
        return fault(
            "it ends with a full stop",
            "remove the full stop: a summary is no sentence",
        );
    }
    Ok(())
}

/// Not empty, and on one line.
pub(super) fn one_line(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return fault("it is empty", "write a few words");
    }
    if text.chars().any(char::is_control) {
        return fault(
            "it has more than one line, or control characters",
            "write it on one line",
        );
    }
    Ok(())
}

/// Something that looks like an SPDX expression.
pub(super) fn license(text: &str) -> Result<(), Fault> {
    one_line(text)?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-.+() ".contains(c);
    if text.chars().all(good) {
        return Ok(());
    }
    fault(
        format!("`{text}` is no SPDX expression"),
        "write, for example, `MIT`, `GPL-2.0-or-later` or `MIT OR Apache-2.0`",
    )
}

/// `Name <address>`.
pub(super) fn maintainer(text: &str) -> Result<(), Fault> {
    match parse_maintainer(text) {
        Some(_) => one_line(text),
        None => fault(
            format!(
                "`{}` is not of the form `Name <address>`",
                text.escape_debug()
            ),
            "write, for example, `Jane Doe <jane@example.org>`",
        ),
    }
}

pub(super) fn parse_maintainer(text: &str) -> Option<Maintainer> {
    let (name, rest) = text.split_once('<')?;
    let email = rest.trim_end().strip_suffix('>')?;
    let (user, host) = email.split_once('@')?;
    let word = |text: &str| {
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "<>@,".contains(c))
    };
    let name = name.trim();
    (!name.is_empty() && !name.contains(['>', ',']) && word(user) && word(host)).then(|| {
        Maintainer {
            name: name.to_owned(),
            email: email.to_owned(),
        }
    })
}

/// A web address.
pub(super) fn url(text: &str) -> Result<(), Fault> {
    let rest = text
        .strip_prefix("https://")
        .or(text.strip_prefix("http://"));
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)) {
        return Ok(());
    }
    fault(
        format!("`{text}` is no web address"),
        "write, for example, `https://example.org/hello`",
    )
}

/// An absolute path without `.`, `..` or doubled slashes.
pub(super) fn path(text: &str) -> Result<(), Fault> {
    if !text.starts_with('/') {
        return fault(
            format!("`{text}` is not absolute"),
            format!("write `/{text}`, where it is to be in the appliance"),
        );
    }
    if text.contains(['\0', '\n']) {
        return fault("it has a line break or a NUL character", "remove it");
    }
    let normal: std::path::PathBuf = Path::new(text).components().collect();
    if Path::new(text)
        .components()
        .any(|part| part == Component::ParentDir)
    {
        return fault(
            format!("`{text}` goes up with `..`"),
            "write the path without `..`",
        );
    }
    if text.len() > 1 && normal.as_os_str() != text {
        return fault(
            format!("`{text}` is not in its shortest form"),
            format!("write `{}`", normal.display()),
        );
    }
    if text == "/" {
        return fault("it is the root directory itself", "name something in it");
    }
    if text == "/init" {
        return fault(
            "`/init` is made by Freezedry",
            "say what is to run with `boot: {init: COMMAND}`",
        );
    }
    Ok(())
}

/// A pattern for absolute paths.
pub(super) fn pattern(text: &str) -> Result<(), Fault> {
    if text.contains(['\0', '\n']) {
        return fault("it has a line break or a NUL character", "remove it");
    }
    if text.starts_with('/') || text.starts_with('*') {
        return Ok(());
    }
    let bare = text.strip_prefix('-').unwrap_or(text);
    let absolute = if bare.starts_with('/') {
        bare.to_owned()
    } else {
        format!("/{bare}")
    };
    fault(
        format!("`{text}` does not start with `/`"),
        format!("write `{absolute}`"),
    )
}

/// A pattern for files of the host: absolute.
pub(super) fn host_file(text: &str) -> Result<(), Fault> {
    pattern(text)?;
    if text.starts_with('/') {
        Ok(())
    } else {
        fault(
            format!("`{text}` does not start with `/`"),
            "write an absolute path",
        )
    }
}

/// Permission bits, in octal.
pub(super) fn mode(text: &str) -> Result<(), Fault> {
    match parse_mode(text) {
        Some(_) => Ok(()),
        None => fault(
            format!("`{text}` is no mode"),
            "write it in octal and in quotes, for example \"0644\" or \"0755\"",
        ),
    }
}

pub(super) fn parse_mode(text: &str) -> Option<u16> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    octal.then(|| u16::from_str_radix(text, 8).ok()).flatten()
}

/// A size with its unit.
pub(super) fn memory(text: &str) -> Result<(), Fault> {
    const HELP: &str = "write a number with the unit M or G, for example 512M or 2G";
    match parse_size(text) {
        None => fault(format!("`{text}` is no size"), HELP),
        Some(size) if size < 64 << 20 => fault(
            format!("`{text}` is too little for Linux"),
            "give at least 64M",
        ),
        Some(size) if size > 1 << 44 => fault(format!("`{text}` is more than any host has"), HELP),
        Some(_) => Ok(()),
    }
}

/// Bytes of a size such as `512M`; units are powers of 1024.
pub fn parse_size(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let shift = match unit.to_ascii_uppercase() {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A public key of ssh without options: sshd(8), AUTHORIZED_KEYS FILE FORMAT.
pub(super) fn public_key(text: &str) -> Result<(), Fault> {
    const HELP: &str = "write the line that is in `~/.ssh/id_ed25519.pub` or its like";
    if text.contains("PRIVATE KEY") {
        return fault("it is a private key, which nobody else may ever see", HELP);
    }
    if text.contains(|c: char| c.is_ascii_control()) {
        return fault("it has a line break or a control character", HELP);
    }
    let mut words = text.split(' ');
    let kind = words.next().unwrap_or_default();
    let key = words.next().unwrap_or_default();
    let known = ["ssh-", "ecdsa-sha2-", "sk-"];
    let base64 = key.trim_end_matches('=');
    // The key begins with the length of its kind in four bytes, three of them zero.
    let good = known.iter().any(|start| kind.starts_with(start))
        && kind
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"@.-".contains(&b))
        && base64.len() > 20
        && key.len() - base64.len() <= 2
        && base64.starts_with("AAAA")
        && base64
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b));
    if good {
        return Ok(());
    }
    let start: String = text.chars().take(30).collect();
    fault(format!("`{start}` is no public key of ssh"), HELP)
}

/// A forwarded port, `HOST:GUEST`.
pub(super) fn port(text: &str) -> Result<(), Fault> {
    match parse_port(text) {
        Some(_) => Ok(()),
        None => fault(
            format!("`{text}` is no pair of ports"),
            "write the host's port, a colon and the guest's, in quotes: \"2222:22\"",
        ),
    }
}

/// The host's and the guest's port of `HOST:GUEST`.
pub fn parse_port(text: &str) -> Option<(u16, u16)> {
    let (host, guest) = text.split_once(':')?;
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| digits && *port != 0)
    };
    Some((number(host)?, number(guest)?))
}

/// A directory that outlives the guest.
pub(super) fn kept(text: &str) -> Result<(), Fault> {
    path(text)?;
    if is_kept(text) {
        return Ok(());
    }
    fault(
        format!("`{text}` cannot outlive the guest"),
        "name a directory below the root with a plain name, for example /var/lib/postgresql",
    )
}

/// Whether a directory can outlive the guest: it goes on the kernel's command
/// line, and what is made anew for each guest is no place for it.
pub fn is_kept(path: &str) -> bool {
    let fresh = [
        "", "dev", "proc", "run", "sys", "tmp", "bin", "sbin", "lib", "lib64", "usr", "etc",
    ];
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
    path.starts_with('/')
        && path.len() <= 200
        && path.bytes().all(plain)
        && path
            .split('/')
            .skip(1)
            .all(|part| !matches!(part, "" | "." | ".."))
        && !fresh.contains(&&path[1..])
        && !["/dev/", "/proc/", "/run/", "/sys/"]
            .iter()
            .any(|start| path.starts_with(start))
}

/// A kernel module's name.
pub(super) fn module(text: &str) -> Result<(), Fault> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !text.is_empty() && text.chars().all(good) {
        return Ok(());
    }
    fault(
        format!("`{text}` is no name of a kernel module"),
        "write, for example, `xfs` or `dm-crypt`",
    )
}

/// `VERSION` or `VERSION-RELEASE`.
pub(super) fn changelog_version(text: &str) -> Result<(), Fault> {
    let (head, tail) = text.split_once('-').unwrap_or((text, "1"));
    version(head)?;
    release(tail)
}

/// A day of the calendar.
pub(super) fn date(text: &str) -> Result<(), Fault> {
    match parse_date(text) {
        Some(_) => Ok(()),
        None => fault(
            format!("`{text}` is no date"),
            "write year, month and day, for example 2026-01-31",
        ),
    }
}

pub(super) fn parse_date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let february = 28 + u32::from(timestamp::is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(month.checked_sub(1)? as usize)?;
    // Timestamps of packages are unsigned and have 32 bits.
    if !(1970..=2100).contains(&year) || day == 0 || day > length {
        return None;
    }
    let leaps = |year: u32| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let days = years + lengths[..month as usize - 1].iter().sum::<u32>() + day - 1;
    Some(Date { days })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_date_does() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2000-03-01", 11_017),
            ("2024-02-29", 19_782),
            ("2026-11-24", 20_781),
        ] {
            assert_eq!(parse_date(text).unwrap().days, days, "{text}");
        }
        for bad in [
            "2023-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-1",
            "26-01-01",
            "2026-01-00",
        ] {
            assert!(parse_date(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("512M"), Some(512 << 20));
        assert_eq!(parse_size("2g"), Some(2 << 30));
        for bad in ["512", "", "M", "1.5G", "-1G", "99999999999999T", "ö"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
