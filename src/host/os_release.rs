//! os-release(5).

use crate::family::Family;

/// What a system says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, for example `debian`; empty if it is not given.
    pub id: String,
    /// `ID_LIKE`, nearest first.
    pub like: Vec<String>,
    /// `VERSION_ID`, for example `12`; empty if it is not given.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: String,
}

impl OsRelease {
    /// Reads the text of an os-release file; lines it does not need, and lines
    /// that are wrong, are passed over as os-release(5) asks.
    pub fn parse(text: &str) -> Self {
        let mut os = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once('=') else {
                continue;
            };
            let value = unquote(value);
            match key {
                "ID" => os.id = value,
                "ID_LIKE" => os.like = value.split_whitespace().map(str::to_owned).collect(),
                "VERSION_ID" => os.version = value,
                "PRETTY_NAME" => os.name = value,
                _ => {}
            }
        }
        os
    }

    /// The family by `ID`, then by each word of `ID_LIKE`.
    pub fn family(&self) -> Option<Family> {
        std::iter::once(&self.id)
            .chain(&self.like)
            .find_map(|id| match id.as_str() {
                "debian" | "ubuntu" => Some(Family::Debian),
                "fedora" | "rhel" | "centos" => Some(Family::Fedora),
                "suse" | "sles" | "sled" => Some(Family::Suse),
                id if id.starts_with("opensuse") => Some(Family::Suse),
                "arch" => Some(Family::Arch),
                "alpine" => Some(Family::Alpine),
                _ => None,
            })
    }
}

/// A value without its quotes, and with the escapes that a shell would undo.
fn unquote(value: &str) -> String {
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(inner) = quoted('\'') {
        return inner.to_owned();
    }
    let mut plain = String::new();
    let mut escaped = false;
    for c in quoted('"').unwrap_or(value).chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_come_from_id_then_id_like() {
        for (text, expected) in [
            ("ID=debian\n", Some(Family::Debian)),
            ("NAME=x\nID=\"opensuse-leap\"\n", Some(Family::Suse)),
            (
                "ID='rocky'\nID_LIKE=\"rhel centos fedora\"\n",
                Some(Family::Fedora),
            ),
            ("ID=linuxmint\nID_LIKE=ubuntu\n", Some(Family::Debian)),
            ("ID=artix\nID_LIKE=arch\n", Some(Family::Arch)),
            ("ID=void\n", None),
            ("", None),
        ] {
            assert_eq!(OsRelease::parse(text).family(), expected, "{text}");
        }
    }

    #[test]
    fn quotes_and_escapes_are_undone() {
        let os = OsRelease::parse("PRETTY_NAME=\"a \\\"b\\\" \\$c\"\nnonsense\n=x\n");
        assert_eq!(os.name, "a \"b\" $c");
    }
}
