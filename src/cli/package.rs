//! `freezedry package`: descriptions become packages.

use super::{Status, describe, notice};
use crate::description::Description;
use crate::family::Family;
use crate::host::Host;
use crate::package::source::{self, Named};
use crate::package::{Contents, Source, deb, koji, obs, rpm, source_deb, source_rpm};
use crate::skeleton::{self, Prepared};
use crate::{Error, Result, files};
use clap::ValueEnum;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Turn descriptions into packages of a few kilobytes
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The descriptions
    #[arg(value_name = "FILE", required = true)]
    descriptions: Vec<PathBuf>,
    /// Formats, separated by commas; without it, this host's own
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMAT")]
    format: Vec<Format>,
    /// The directory to write to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Debian, Ubuntu
    Deb,
    /// Fedora and its relatives
    Rpm,
    /// A source RPM
    Srpm,
    /// A Debian source package
    Dsc,
    /// A checkout directory of the Open Build Service
    Obs,
    /// A source RPM, and what else Fedora's Koji wants
    Koji,
    /// What a source package installs, as files; for its build
    #[value(hide = true)]
    Tree,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let loaded = arguments
        .descriptions
        .iter()
        .map(|path| Some((path.as_path(), describe::load(path)?)))
        .collect::<Vec<_>>();
    let Some(loaded) = loaded.into_iter().collect::<Option<Vec<_>>>() else {
        return Ok(Status::Problems);
    };
    let mut names: Vec<&str> = loaded.iter().map(|(_, of)| of.name.as_str()).collect();
    names.sort_unstable();
    let many = names.len();
    names.dedup();
    if names.len() < many {
        let twice = "two of the descriptions have the same name";
        return Err(Error::input(twice).hint("give each appliance a name of its own"));
    }
    // Packages can be made on any machine; only a base image needs a host.
    let host = Host::detect(Path::new("/")).ok();
    let formats = match (&arguments.format[..], &host) {
        ([], Some(host)) if host.family() != Family::Debian => &[Format::Rpm],
        ([], _) => &[Format::Deb],
        (formats, _) => formats,
    };
    if formats.len() > 1 && formats.contains(&Format::Obs) {
        return Err(
            Error::input("an OBS checkout holds what is meant for OBS, and nothing else").hint(
                "run `freezedry package --format obs` by itself, with a directory of its own",
            ),
        );
    }
    let alone = [Format::Koji, Format::Tree];
    if loaded.len() > 1 && formats.iter().any(|format| alone.contains(format)) {
        return Err(
            Error::input("this format takes one description, and several are given")
                .hint("run `freezedry package` for each, with a directory of its own"),
        );
    }
    files::create_dir_all(&arguments.output)?;
    let mut made = Vec::new();
    for format in formats {
        if *format == Format::Obs {
            let sources = loaded
                .iter()
                .map(|(path, description)| Source::new(description, path));
            made.extend(obs::build(&sources.collect::<Result<Vec<_>>>()?)?);
            continue;
        }
        for (path, description) in &loaded {
            if *format == Format::Tree {
                tree(description, host.as_ref(), &arguments.output)?;
            } else {
                made.extend(one(*format, description, path, host.as_ref())?);
            }
        }
    }
    // Only now, so that nothing is there if something could not be made.
    for (name, bytes) in made {
        let path = arguments.output.join(&name);
        let part = arguments.output.join(name + ".part");
        files::write(&part, &bytes)?;
        files::rename(&part, &path)?;
        notice(&format!("wrote {} ({} bytes)", path.display(), bytes.len()));
    }
    Ok(Status::Success)
}

/// The files that one description makes in one format.
fn one(
    format: Format,
    description: &Description,
    path: &Path,
    host: Option<&Host>,
) -> Result<Vec<Named>> {
    let source = || Source::new(description, path);
    Ok(match format {
        Format::Deb => {
            let prepared = prepare(description, Family::Debian, host)?;
            let contents = Contents::new(description, &prepared, Family::Debian)?;
            vec![(deb::file_name(&contents), deb::build(&contents)?)]
        }
        Format::Rpm => {
            // The names of packages differ; this host's are the likelier ones.
            let family = match host {
                Some(host) if host.family() == Family::Suse => Family::Suse,
                _ => Family::Fedora,
            };
            let prepared = prepare(description, family, host)?;
            let contents = Contents::new(description, &prepared, family)?;
            vec![(rpm::file_name(&contents), rpm::build(&contents)?)]
        }
        Format::Srpm => vec![source_rpm::build(&source()?)?],
        Format::Dsc => source_deb::build(&source()?)?,
        Format::Koji => koji::build(&source()?)?,
        // These two are no business of one description, or no packages.
        Format::Obs | Format::Tree => Vec::new(),
    })
}

fn prepare(description: &Description, family: Family, host: Option<&Host>) -> Result<Prepared> {
    let prepared = skeleton::prepare(&skeleton::Request {
        description,
        family,
        host,
    })?;
    describe::explain(&prepared);
    if host.is_none_or(|host| host.family() != family) {
        notice(&format!(
            "this is no {family} host: the names of packages are taken as they are written, \
             and their configuration files are left to the host that boots"
        ));
    }
    Ok(prepared)
}

/// Writes what a source package installs, with the modes and the time that it
/// has in the package.
fn tree(description: &Description, host: Option<&Host>, out: &Path) -> Result<()> {
    let family = host.map_or(Family::Debian, Host::family);
    let prepared = prepare(description, family, host)?;
    let time = skeleton::timestamp(description)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time.into());
    for file in source::tree(description, &prepared)? {
        let path = out.join(&file.path);
        if let Some(parent) = path.parent() {
            files::create_dir_all(parent)?;
        }
        files::write(&path, &file.bytes)?;
        let finish = |open: File| {
            open.set_permissions(Permissions::from_mode(file.mode.into()))?;
            open.set_modified(time)
        };
        finish(files::open(&path)?).map_err(|e| Error::io("cannot finish", &path, e))?;
    }
    Ok(())
}
