//! What the `rpm` command prints, as data.
//!
//! One query prints all packages, a line for each fact; its first letter says
//! which.

use crate::{Error, Result};
use std::path::PathBuf;

/// The argument of `rpm --queryformat`.
pub(super) const FORMAT: &str = "\
P\\t%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n\
[R\\t%{REQUIRENAME}\\t%{REQUIREFLAGS}\\t%{REQUIREVERSION}\\n]\
[V\\t%{PROVIDENAME}\\t%{PROVIDEFLAGS}\\t%{PROVIDEVERSION}\\n]\
[F\\t%{FILENAMES}\\t%{FILEFLAGS}\\t%{FILEDIGESTS}\\n]";

/// `RPMFILE_CONFIG` of rpm's `rpmfiles.h`.
const CONFIG: u64 = 1;

/// The `RPMSENSE_LESS`, `GREATER` and `EQUAL` bits of rpm's `rpmds.h`.
const SENSE: u64 = 0xe;

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) epoch: String,
    pub(super) version: String,
    pub(super) release: String,
    pub(super) architecture: String,
    pub(super) requires: Vec<Capability>,
    pub(super) provides: Vec<Capability>,
    pub(super) files: Vec<File>,
}

/// A capability with its version bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Capability {
    pub(super) name: String,
    /// The `RPMSENSE_LESS` (2), `GREATER` (4) and `EQUAL` (8) bits.
    pub(super) sense: u64,
    pub(super) version: String,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) config: bool,
    /// SHA-256 (or, of old packages, another digest); empty for what is no regular file.
    pub(super) digest: String,
}

impl Record {
    /// Epoch, version and release in rpm's order of comparison.
    pub(super) fn evr(&self) -> String {
        format!("{}:{}-{}", self.epoch, self.version, self.release)
    }
}

/// Reads the answer to [`FORMAT`].
pub(super) fn parse(text: &str) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let damaged = || {
            Error::host(format!(
                "line {} of the answer of `rpm` is not understood: `{}`",
                number + 1,
                line.escape_debug()
            ))
            .hint("check the database with `rpm -qa`, repair it with `rpmdb --rebuilddb`")
        };
        let fields: Vec<&str> = line.split('\t').collect();
        if let ["P", name, epoch, version, release, architecture] = fields[..] {
            records.push(Record {
                name: name.into(),
                epoch: epoch.into(),
                version: version.into(),
                release: release.into(),
                architecture: architecture.into(),
                ..Record::default()
            });
            continue;
        }
        let record = records.last_mut().ok_or_else(damaged)?;
        let flags = |text: &str| text.parse::<u64>().map_err(|_| damaged());
        match fields[..] {
            // A package without any of a kind.
            [_, "(none)", ..] => {}
            [kind @ ("R" | "V"), name, sense, version] => {
                let capability = Capability {
                    name: name.into(),
                    sense: flags(sense)? & SENSE,
                    version: version.into(),
                };
                if kind == "R" {
                    record.requires.push(capability);
                } else {
                    record.provides.push(capability);
                }
            }
            ["F", path, bits, digest] => record.files.push(File {
                path: path.into(),
                config: flags(bits)? & CONFIG != 0,
                digest: digest.into(),
            }),
            _ => return Err(damaged()),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_belong_to_the_package_above_them() {
        let text = "P\tbash\t0\t5.2\t1.fc40\tx86_64\nR\t/bin/sh\t0\t\nR\t(none)\t(none)\t(none)\n\
                    V\tbash\t8\t5.2-1\nF\t/etc/skel/.bashrc\t17\tabc\n";
        let records = parse(text).unwrap();
        assert_eq!(records[0].evr(), "0:5.2-1.fc40");
        assert_eq!(records[0].requires.len(), 1);
        assert!(records[0].files[0].config);
    }

    #[test]
    fn damage_is_told_with_its_line() {
        for bad in [
            "R\tx\t0\t\n",
            "P\ta\t0\t1\t1\tnoarch\nF\t/x\tmany\t\n",
            "?\n",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("line "), "{error}");
        }
    }
}
