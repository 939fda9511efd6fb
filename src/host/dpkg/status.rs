//! dpkg's status file and the relations in it, as text.
//!
//! Sources: deb822(5), deb-control(5), dpkg-query(1).

use super::version;
use std::cmp::Ordering;

/// A paragraph of the status file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) architecture: &'a str,
    /// The third word of `Status`: `installed`, `config-files`, ...
    pub(super) state: &'a str,
    pub(super) same: bool,
    pub(super) depends: &'a str,
    pub(super) pre_depends: &'a str,
    pub(super) provides: &'a str,
    pub(super) replaces: &'a str,
    pub(super) essential: bool,
    /// All lines of `Conffiles`.
    pub(super) conffiles: &'a str,
}

/// The paragraphs of a status file.  Unknown fields, and lines that are wrong,
/// are passed over.
pub(super) fn parse(text: &str) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut record = Record::default();
        let mut rest = paragraph;
        while !rest.is_empty() {
            // A field ends where a line starts that is no continuation.
            let end = rest
                .match_indices('\n')
                .map(|(i, _)| i + 1)
                .find(|&i| !rest[i..].starts_with([' ', '\t']))
                .unwrap_or(rest.len());
            let (field, next) = rest.split_at(end);
            rest = next;
            let Some((key, value)) = field.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key {
                "Package" => record.name = value,
                "Version" => record.version = value,
                "Architecture" => record.architecture = value,
                "Status" => record.state = value.split(' ').nth(2).unwrap_or(""),
                "Multi-Arch" => record.same = value == "same",
                "Depends" => record.depends = value,
                "Pre-Depends" => record.pre_depends = value,
                "Provides" => record.provides = value,
                "Replaces" => record.replaces = value,
                "Essential" => record.essential = value == "yes",
                "Conffiles" => record.conffiles = value,
                _ => {}
            }
        }
        if !record.name.is_empty() {
            records.push(record);
        }
    }
    records
}

/// `records` with what the `later` ones say of the same packages.
pub(super) fn amended<'a>(mut records: Vec<Record<'a>>, later: Vec<Record<'a>>) -> Vec<Record<'a>> {
    for record in later {
        let same = |old: &&mut Record<'a>| {
            // Only `Multi-Arch: same` can be there in several architectures.
            old.name == record.name && (!old.same || old.architecture == record.architecture)
        };
        match records.iter_mut().find(same) {
            Some(old) => *old = record,
            None => records.push(record),
        }
    }
    records
}

/// One alternative of a relation: `name:qualifier (operator version)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) qualifier: Option<String>,
    pub(super) bound: Option<(Operator, String)>,
}

/// How a version is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Relation {
    /// Reads one alternative; `None` for an empty one.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, bound) = match text.split_once('(') {
            Some((name, bound)) => (name.trim(), bound.split(')').next().map(str::trim)),
            None => (text.split_whitespace().next()?, None),
        };
        let (name, qualifier) = match name.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier.to_owned())),
            None => (name, None),
        };
        if name.is_empty() {
            return None;
        }
        let bound = bound.and_then(|bound| {
            let at = bound.find(|c| !"<=>".contains(c))?;
            let (operator, version) = bound.split_at(at);
            let operator = match operator {
                "<<" => Operator::Earlier,
                "<=" | "<" => Operator::EarlierOrEqual,
                "=" => Operator::Equal,
                ">=" | ">" => Operator::LaterOrEqual,
                ">>" => Operator::Later,
                _ => return None,
            };
            Some((operator, version.trim().to_owned()))
        });
        Some(Self {
            name: name.to_owned(),
            qualifier,
            bound,
        })
    }

    /// Whether `version` is within the bound.
    pub(super) fn admits(&self, version: &str) -> bool {
        self.bound.as_ref().is_none_or(|(operator, bound)| {
            let order = version::compare(version, bound);
            match operator {
                Operator::Earlier => order == Ordering::Less,
                Operator::EarlierOrEqual => order != Ordering::Greater,
                Operator::Equal => order == Ordering::Equal,
                Operator::LaterOrEqual => order != Ordering::Less,
                Operator::Later => order == Ordering::Greater,
            }
        })
    }
}

/// The groups of a `Depends`, each with its alternatives.
pub(super) fn relations(field: &str) -> Vec<Vec<Relation>> {
    field
        .split(',')
        .map(|group| {
            group
                .split('|')
                .filter_map(Relation::parse)
                .collect::<Vec<_>>()
        })
        .filter(|group| !group.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: &str = "\
Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9
Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~)
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
Description: GNU C Library
 words
 .
 Package: not-a-package

Package: gone
Status: deinstall ok config-files
";

    #[test]
    fn paragraphs_and_continuations() {
        let records = parse(STATUS);
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].name, "libc6");
        assert!(records[0].same);
        assert_eq!(records[0].state, "installed");
        assert!(records[0].conffiles.starts_with("/etc/ld.so.conf.d/"));
        assert_eq!(records[1].state, "config-files");
    }

    #[test]
    fn relations_are_taken_apart() {
        let groups = relations("a (>= 1:2) | b:any, c (<<3) [amd64], , d");
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0][1].qualifier.as_deref(), Some("any"));
        assert!(groups[0][0].admits("1:2"));
        assert!(!groups[0][0].admits("9"));
        assert!(groups[1][0].admits("2.9"));
        assert!(!groups[1][0].admits("3"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "[ -~\n\tä]{0,300}") {
            for record in parse(&text) {
                relations(record.depends);
            }
            relations(&text);
        }
    }
}
