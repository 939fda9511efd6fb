//! `freezedry package`: descriptions become packages.

use super::{Status, audit, describe, notice};
use crate::description::{Description, Severity};
use crate::family::Family;
use crate::host::Host;
use crate::package::sign::{self, Signer};
use crate::package::source;
use crate::package::{
    Contents, Named, Source, changes, deb, koji, obs, rpm, source_deb, source_rpm,
};
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
    /// Write .buildinfo and .changes beside a .deb
    #[arg(long)]
    changes: bool,
    /// Sign what is written (of Debian's, the .buildinfo, .changes and .dsc),
    /// with this key, else that of FREEZEDRY_SIGN_KEY, else gpg's default key
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    sign: Option<String>,
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
        ([], Some(host)) if !matches!(host.family(), Family::Debian | Family::Other) => {
            &[Format::Rpm]
        }
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
    let signer = match &arguments.sign {
        None => None,
        Some(key) => Some(Signer::new(
            Some(key.as_str()).filter(|key| !key.is_empty()),
        )?),
    };
    if signer.is_some() && formats.contains(&Format::Deb) && !arguments.changes {
        return Err(Error::input(
            "a Debian package is signed by its .changes, which is not written",
        )
        .hint("add --changes, or put a signature inside with `freezedry sign --embed`"));
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
                let new = one(*format, description, path, host.as_ref(), arguments.changes)?;
                made.extend(new);
            }
        }
    }
    let mut written: Vec<(PathBuf, Vec<u8>)> = made
        .into_iter()
        .map(|(name, bytes)| (arguments.output.join(name), bytes))
        .collect();
    if let Some(signer) = &signer {
        let (signable, rest) = written.into_iter().partition(|(path, _)| is_signed(path));
        written = sign::sign(signer, signable, false)?;
        written.extend(rest);
    }
    // Only now, so that nothing is there if something could not be made.
    for (path, bytes) in written {
        files::replace(&path, &bytes)?;
        notice(&format!("wrote {} ({} bytes)", path.display(), bytes.len()));
    }
    Ok(Status::Success)
}

/// Whether `--sign` is about this file: a `.deb` is signed by its `.changes`,
/// tarballs by their `.dsc`.
fn is_signed(path: &Path) -> bool {
    const SIGNED: [&str; 4] = ["rpm", "dsc", "changes", "buildinfo"];
    let extension = path.extension();
    extension.is_some_and(|own| SIGNED.iter().any(|signed| own == *signed))
}

/// The files that one description makes in one format.
fn one(
    format: Format,
    description: &Description,
    path: &Path,
    host: Option<&Host>,
    with_changes: bool,
) -> Result<Vec<Named>> {
    let source = || Source::new(description, path);
    Ok(match format {
        Format::Deb => {
            let prepared = prepare(description, path, Family::Debian, host)?;
            let contents = Contents::new(description, &prepared, Family::Debian)?;
            let package = (deb::file_name(&contents), deb::build(&contents)?);
            let mut made = Vec::new();
            if with_changes {
                made.extend(changes::write(&contents, &package));
            }
            made.push(package);
            made
        }
        Format::Rpm => {
            // The names of packages differ; this host's are the likelier ones.
            let family = match host {
                Some(host) if host.family() == Family::Suse => Family::Suse,
                _ => Family::Fedora,
            };
            let prepared = prepare(description, path, family, host)?;
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

fn prepare(
    description: &Description,
    path: &Path,
    family: Family,
    host: Option<&Host>,
) -> Result<Prepared> {
    let prepared = skeleton_of(description, family, host)?;
    // Without all packages the audit would find little else than that.
    if let Some(host) = host.filter(|host| host.family() == family)
        && prepared.missing.is_empty()
    {
        let mut findings = audit::of_skeleton(description, &prepared, host, None)?;
        // Where it will be rehydrated, things may be otherwise.
        for finding in &mut findings {
            finding.severity = Severity::Warning;
        }
        describe::print(&audit::problems(path, &findings)?);
    }
    Ok(prepared)
}

fn skeleton_of(description: &Description, family: Family, host: Option<&Host>) -> Result<Prepared> {
    let prepared = skeleton::prepare(&skeleton::Request {
        description,
        family,
        host,
        download: None,
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
    let prepared = skeleton_of(description, family, host)?;
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
