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
use std::collections::{BTreeMap, BTreeSet};
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
    /// Whose names of packages an RPM has: of suse those under `suse` in the
    /// description; without it, this host's if it is an RPM system, else fedora's
    #[arg(long, value_enum, value_name = "FAMILY")]
    family: Option<RpmFamily>,
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
    /// Fedora, openSUSE and their relatives
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RpmFamily {
    /// Fedora, RHEL and their relatives
    Fedora,
    /// openSUSE and SLE
    Suse,
}

impl Format {
    /// Whether it is made of a skeleton, which is made here.
    fn is_binary(self) -> bool {
        matches!(self, Self::Deb | Self::Rpm | Self::Tree)
    }

    /// The families whose names of packages it has, if it is made here with those
    /// of `rpm` for an RPM.
    fn families(self, rpm: Family, host: Option<&Host>) -> Vec<Family> {
        match self {
            Self::Deb | Self::Dsc => vec![Family::Debian],
            Self::Rpm => vec![rpm],
            // A spec file has those of both.
            Self::Srpm => vec![Family::Fedora, Family::Suse],
            Self::Koji => vec![Family::Fedora],
            Self::Obs => vec![Family::Debian, Family::Fedora, Family::Suse],
            Self::Tree => vec![host.map_or(Family::Debian, Host::family)],
        }
    }
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
    let formats = formats(arguments, host.as_ref())?;
    let rpm = match (arguments.family, &host) {
        (Some(RpmFamily::Suse), _) => Family::Suse,
        (None, Some(host)) if host.family() == Family::Suse => Family::Suse,
        _ => Family::Fedora,
    };
    let signer = match &arguments.sign {
        None => None,
        Some(key) => Some(Signer::new(
            Some(key.as_str()).filter(|key| !key.is_empty()),
        )?),
    };
    let host = host.as_ref();
    let mut inputs = Vec::new();
    for (path, description) in &loaded {
        inputs.push(Input {
            path,
            description,
            skeletons: skeletons(path, description, &formats, rpm, host)?,
        });
    }
    if arguments.output.is_file() {
        let file = arguments.output.display();
        return Err(Error::input(format!(
            "`{file}` is a file, and packages go to a directory"
        ))
        .hint("name a directory with --output; it is made if it is not there"));
    }
    files::create_dir_all(&arguments.output)?;
    let mut made = Vec::new();
    for format in &formats {
        if *format == Format::Obs {
            let sources = inputs.iter().map(Input::source);
            made.extend(obs::build(&sources.collect::<Result<Vec<_>>>()?)?);
            continue;
        }
        for input in &inputs {
            if *format == Format::Tree {
                tree(input, &arguments.output)?;
            } else {
                made.extend(one(*format, input, rpm, arguments.changes)?);
            }
        }
    }
    let old = match formats[..] {
        [Format::Obs] => superseded(&arguments.output, &made)?,
        _ => Vec::new(),
    };
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
        if is_tarball(&path) && files::read(&path).is_ok_and(|old| old != bytes) {
            notice(&format!(
                "{} is not as it was: an archive that has it refuses this one, unless you raise `version`",
                path.display()
            ));
        }
        files::replace(&path, &bytes)?;
        notice(&format!("wrote {} ({} bytes)", path.display(), bytes.len()));
    }
    for path in old {
        std::fs::remove_file(&path).map_err(|e| Error::io("cannot remove", &path, e))?;
        notice(&format!("removed {}, of an earlier run", path.display()));
    }
    Ok(Status::Success)
}

/// What an earlier run has left in the checkout directory of OBS, where all that
/// lies there is taken for sources.
fn superseded(directory: &Path, made: &[Named]) -> Result<Vec<PathBuf>> {
    let cannot = |e| Error::io("cannot list", directory, e);
    let mut there = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        there.extend(entry.map_err(cannot)?.file_name().into_string());
    }
    let multibuild = files::read_text(directory.join("_multibuild")).ok();
    let old = obs::superseded(&there, made, multibuild.as_deref());
    Ok(old.into_iter().map(|name| directory.join(name)).collect())
}

/// The formats that are asked for, or this host's own; the error says what does not
/// go with them.
fn formats(arguments: &Arguments, host: Option<&Host>) -> Result<Vec<Format>> {
    let mut given = Vec::new();
    for format in &arguments.format {
        if !given.contains(format) {
            given.push(*format);
        }
    }
    let formats = match (&given[..], host) {
        ([], _) if arguments.family.is_some() => vec![Format::Rpm],
        ([], Some(host)) if !matches!(host.family(), Family::Debian | Family::Other) => {
            vec![Format::Rpm]
        }
        ([], _) => vec![Format::Deb],
        _ => given,
    };
    if arguments.family.is_some()
        && !(formats.contains(&Format::Rpm) || formats.contains(&Format::Srpm))
    {
        return Err(
            Error::input("--family chooses the names in an RPM, and none is made")
                .hint("add --format rpm or srpm, or leave --family out"),
        );
    }
    if arguments.changes && !formats.contains(&Format::Deb) {
        return Err(
            Error::input("--changes is about a Debian package, and none is made")
                .hint("add --format deb, or leave --changes out"),
        );
    }
    if formats.len() > 1 && formats.contains(&Format::Obs) {
        return Err(
            Error::input("an OBS checkout holds what is meant for OBS, and nothing else").hint(
                "run `freezedry package --format obs` by itself, with a directory of its own",
            ),
        );
    }
    let alone = [Format::Koji, Format::Tree];
    if arguments.descriptions.len() > 1 && formats.iter().any(|format| alone.contains(format)) {
        return Err(
            Error::input("this format takes one description, and several are given")
                .hint("run `freezedry package` for each, with a directory of its own"),
        );
    }
    if arguments.sign.is_some() && formats.contains(&Format::Deb) && !arguments.changes {
        return Err(Error::input(
            "a Debian package is signed by its .changes, which is not written",
        )
        .hint("add --changes, or put a signature inside with `freezedry sign --embed`"));
    }
    Ok(formats)
}

/// Whether `--sign` is about this file: a `.deb` is signed by its `.changes`,
/// tarballs by their `.dsc`.
fn is_signed(path: &Path) -> bool {
    const SIGNED: [&str; 4] = ["rpm", "dsc", "changes", "buildinfo"];
    let extension = path.extension();
    extension.is_some_and(|own| SIGNED.iter().any(|signed| own == *signed))
}

/// Whether this is the tarball of a version, which all its releases share.
fn is_tarball(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".tar.xz") && !name.ends_with(".debian.tar.xz")
}

/// A description, and its skeletons for the families that packages are made for.
struct Input<'a> {
    path: &'a Path,
    description: &'a Description,
    skeletons: BTreeMap<Family, Prepared>,
}

impl Input<'_> {
    fn source(&self) -> Result<Source<'_>> {
        Source::new(self.description, self.path)
    }

    fn contents(&self, family: Family) -> Result<Contents<'_>> {
        let prepared = self.skeletons.get(&family).ok_or_else(|| {
            Error::input(format!("there is no skeleton for {family}")) // made for each
        })?;
        Contents::new(self.description, prepared, family)
    }
}

/// The skeletons that packages in `formats` are made of, and this host's in any
/// case.  Tells what their author may not expect.
fn skeletons(
    path: &Path,
    description: &Description,
    formats: &[Format],
    rpm: Family,
    host: Option<&Host>,
) -> Result<BTreeMap<Family, Prepared>> {
    let here = host.map(Host::family);
    let families = |formats: &[Format]| -> BTreeSet<Family> {
        let families = formats.iter().flat_map(|format| format.families(rpm, host));
        families.collect()
    };
    let mut binary = formats.to_vec();
    binary.retain(|format| format.is_binary());
    let (all, binary) = (families(formats), families(&binary));
    let mut found = BTreeMap::new();
    for &family in &all {
        if let Some(told) = lacking(description, family) {
            notice(&told);
        }
        if !binary.contains(&family) && here != Some(family) {
            continue;
        }
        let prepared = skeleton::prepare(&skeleton::Request {
            description,
            family,
            host,
            download: None,
        })?;
        describe::explain(&prepared);
        // Without all packages the audit would find little else than that; and a
        // build is none of its author's.
        if let Some(host) = host.filter(|_| here == Some(family))
            && prepared.missing.is_empty()
            && !formats.contains(&Format::Tree)
        {
            warn(path, description, &prepared, host)?;
        }
        found.insert(family, prepared);
    }
    let foreign: Vec<Family> = all.into_iter().filter(|of| here != Some(*of)).collect();
    if !foreign.is_empty() {
        let left = if foreign.iter().any(|family| binary.contains(family)) {
            ", and their configuration files are left to the host that boots"
        } else {
            ""
        };
        let names: Vec<&str> = foreign.iter().map(|family| family.name()).collect();
        notice(&format!(
            "this is no {} host: the names of packages are taken as they are written{left}",
            names.join(" or ")
        ));
    }
    Ok(found)
}

/// What to say if the author has thought of other families than this one.
fn lacking(description: &Description, family: Family) -> Option<String> {
    let named = &description.packages.families;
    let names: Vec<&str> = named.keys().map(|family| family.name()).collect();
    (!named.is_empty() && !named.contains_key(&family)).then(|| {
        format!(
            "`packages` has names for {}, and none for {family}, which gets those under `all` alone",
            names.join(", ")
        )
    })
}

/// Prints what the appliance would miss here.
fn warn(path: &Path, description: &Description, prepared: &Prepared, host: &Host) -> Result<()> {
    let mut findings = audit::of_skeleton(description, prepared, host, None)?;
    // Where it will be rehydrated, things may be otherwise.
    for finding in &mut findings {
        finding.severity = Severity::Warning;
    }
    describe::print(&audit::problems(path, &findings)?);
    Ok(())
}

/// The files that one description makes in one format.
fn one(format: Format, input: &Input<'_>, rpm: Family, with_changes: bool) -> Result<Vec<Named>> {
    Ok(match format {
        Format::Deb => {
            let contents = input.contents(Family::Debian)?;
            let package = (deb::file_name(&contents), deb::build(&contents)?);
            let mut made = Vec::new();
            if with_changes {
                made.extend(changes::write(&contents, &package));
            }
            made.push(package);
            made
        }
        Format::Rpm => {
            let contents = input.contents(rpm)?;
            vec![(rpm::file_name(&contents), rpm::build(&contents)?)]
        }
        Format::Srpm => vec![source_rpm::build(&input.source()?, rpm)?],
        Format::Dsc => source_deb::build(&input.source()?)?,
        Format::Koji => koji::build(&input.source()?)?,
        // These two are no business of one description, or no packages.
        Format::Obs | Format::Tree => Vec::new(),
    })
}

/// Writes what a source package installs, with the modes and the time that it
/// has in the package.
fn tree(input: &Input<'_>, out: &Path) -> Result<()> {
    let time = skeleton::timestamp(input.description)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time.into());
    // That of this host.
    for prepared in input.skeletons.values() {
        for file in source::tree(input.description, prepared)? {
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
    }
    Ok(())
}
