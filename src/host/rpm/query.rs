//! Formats that are read with the `rpm` command: ndb and Berkeley DB.
//!
//! One query prints all packages, a line for each fact; its first letter says
//! which.

use super::record::{Capability, File, Record, sense};
use crate::{Error, Result, command, error::Kind};
use std::path::Path;
use std::process::Command;

/// The argument of `rpm --queryformat`.
const FORMAT: &str = "\
P\\t%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\t%{FILEDIGESTALGO}\\n\
[R\\t%{REQUIRENAME}\\t%{REQUIREFLAGS}\\t%{REQUIREVERSION}\\n]\
[V\\t%{PROVIDENAME}\\t%{PROVIDEFLAGS}\\t%{PROVIDEVERSION}\\n]\
[F\\t%{FILENAMES}\\t%{FILEFLAGS}\\t%{FILESTATES}\\t%{FILEDIGESTS}\\t%{FILELINKTOS}\\n]";

/// A format that only rpm itself reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// openSUSE's.
    Ndb,
    /// Berkeley DB, in the file `Packages`: everybody's until 2020.
    Bdb,
}

/// Asks the `rpm` command for the packages in the database at `path`, in the
/// order in which it has them.
pub(super) fn records(path: &Path, format: Format) -> Result<Vec<Record>> {
    let (name, backend) = match format {
        Format::Ndb => ("ndb", "ndb"),
        Format::Bdb => ("Berkeley DB", "bdb"),
    };
    let mut rpm = Command::new("rpm");
    // Not --root, which only root may use.  Without the name of the format, an
    // rpm that does not know it would make an empty database of another.
    rpm.args(["--define", &format!("_db_backend {backend}"), "--dbpath"])
        .arg(path.parent().unwrap_or(path))
        .args(["-qa", "--queryformat", FORMAT])
        .env("LC_ALL", "C");
    let cannot = || {
        Error::host(format!(
            "cannot read the RPM database `{}`, whose format is {name}",
            path.display()
        ))
    };
    let text = command::output(&mut rpm).map_err(|cause| {
        let missing = cause.kind() == Kind::Host;
        cannot().caused_by(cause).hint(if missing {
            format!("install `rpm`, which reads {name} databases")
        } else {
            "check it with `rpm -qa`, repair it with `rpmdb --rebuilddb` as root".into()
        })
    })?;
    let records = parse(&String::from_utf8_lossy(&text))?;
    if records.is_empty() {
        return Err(cannot()
            .caused_by("`rpm` finds no packages in it")
            .hint(format!(
                "this `rpm` may be built without {name}: use one that knows it, \
                 or convert the database on its own system with `rpmdb --rebuilddb`"
            )));
    }
    Ok(records)
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
        let number = |text: &str| match text {
            "(none)" => Ok(0),
            text => text.parse::<u32>().map_err(|_| damaged()),
        };
        let fields: Vec<&str> = line.split('\t').collect();
        if let ["P", name, epoch, version, release, architecture, algorithm] = fields[..] {
            records.push(Record {
                name: name.into(),
                epoch: number(epoch)?,
                version: version.into(),
                release: release.into(),
                architecture: architecture.into(),
                digest_algorithm: number(algorithm)?,
                ..Record::default()
            });
            continue;
        }
        let record = records.last_mut().ok_or_else(damaged)?;
        match fields[..] {
            // A package without any of a kind.
            [_, "(none)", ..] => {}
            [kind @ ("R" | "V"), name, flags, version] => {
                let capability = Capability {
                    name: name.into(),
                    sense: number(flags)? & sense::RPMSENSE_SENSEMASK,
                    version: version.into(),
                };
                if kind == "R" {
                    record.requires.push(capability);
                } else {
                    record.provides.push(capability);
                }
            }
            ["F", path, flags, state, digest, target] => {
                let mut file = File::new(path.into(), number(flags)?, number(state)?);
                if file.config {
                    file.digest = digest.into();
                    file.target = target.into();
                }
                record.files.push(file);
            }
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
        let text = "P\tbash\t0\t5.2\t1.fc40\tx86_64\t8\nR\t/bin/sh\t0\t\nR\t(none)\t(none)\t(none)\n\
                    V\tbash\t8\t5.2-1\nF\t/etc/skel/.bashrc\t17\t0\tabc\t\n";
        let records = parse(text).unwrap();
        assert_eq!(records[0].evr(), "0:5.2-1.fc40");
        assert_eq!(records[0].requires.len(), 1);
        assert!(records[0].files[0].config);
    }

    #[test]
    fn damage_is_told_with_its_line() {
        for bad in [
            "R\tx\t0\t\n",
            "P\ta\t0\t1\t1\tnoarch\t8\nF\t/x\tmany\t0\t\t\n",
            "?\n",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("line "), "{error}");
        }
    }
}
