//! `freezedry package`: a description becomes packages.

use super::{Status, audit, describe, notice};
use crate::description::Severity;
use crate::family::Family;
use crate::host::Host;
use crate::package::sign::{self, Signer};
use crate::package::{Contents, changes, deb, rpm};
use crate::{Error, Result, files, skeleton};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// Turn a description into packages of a few kilobytes
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The description
    #[arg(value_name = "FILE")]
    description: PathBuf,
    /// Formats, separated by commas; without it, this host's own
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMAT")]
    format: Vec<Format>,
    /// The directory to write to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Write .buildinfo and .changes beside a .deb
    #[arg(long)]
    changes: bool,
    /// Sign what is written (of Debian's, the .buildinfo and .changes), with
    /// this key, else that of FREEZEDRY_SIGN_KEY, else gpg's default key
    #[arg(long, value_name = "KEY", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    sign: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Debian, Ubuntu
    Deb,
    /// Fedora and its relatives
    Rpm,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let Some(description) = describe::load(&arguments.description) else {
        return Ok(Status::Problems);
    };
    // Packages can be made on any machine; only a base image needs a host.
    let host = Host::detect(Path::new("/")).ok();
    let formats = match (&arguments.format[..], &host) {
        ([], Some(host)) if !matches!(host.family(), Family::Debian | Family::Other) => {
            &[Format::Rpm]
        }
        ([], _) => &[Format::Deb],
        (formats, _) => formats,
    };
    files::create_dir_all(&arguments.output)?;
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
    let mut written = Vec::new();
    for format in formats {
        let family = match format {
            Format::Deb => Family::Debian,
            // The names of packages differ; this host's are the likelier ones.
            Format::Rpm => match &host {
                Some(host) if host.family() == Family::Suse => Family::Suse,
                _ => Family::Fedora,
            },
        };
        let prepared = skeleton::prepare(&skeleton::Request {
            description: &description,
            family,
            host: host.as_ref(),
            download: None,
        })?;
        describe::explain(&prepared);
        if host.as_ref().is_none_or(|host| host.family() != family) {
            notice(&format!(
                "this is no {family} host: the names of packages are taken as they are written, \
                 and their configuration files are left to the host that boots"
            ));
        }
        // Without all packages the audit would find little else than that.
        if let Some(host) = host.as_ref().filter(|host| host.family() == family)
            && prepared.missing.is_empty()
        {
            let mut findings = audit::of_skeleton(&description, &prepared, host, None)?;
            // Where it will be rehydrated, things may be otherwise.
            for finding in &mut findings {
                finding.severity = Severity::Warning;
            }
            describe::print(&audit::problems(&arguments.description, &findings)?);
        }
        let contents = Contents::new(&description, &prepared, family)?;
        let made = match format {
            Format::Deb => (deb::file_name(&contents), deb::build(&contents)?),
            Format::Rpm => (rpm::file_name(&contents), rpm::build(&contents)?),
        };
        let place = |(name, bytes): (String, Vec<u8>)| (arguments.output.join(name), bytes);
        let mut signed = Vec::new();
        if *format == Format::Deb && arguments.changes {
            signed.extend(changes::write(&contents, &made).map(place));
        }
        match format {
            Format::Rpm if signer.is_some() => signed.push(place(made)),
            _ => written.push(place(made)),
        }
        written.extend(match &signer {
            Some(signer) => sign::sign(signer, signed, false)?,
            None => signed,
        });
    }
    // Only now, so that nothing is there if something could not be made.
    for (path, bytes) in written {
        let part = path.with_extension("part");
        files::write(&part, &bytes)?;
        files::rename(&part, &path)?;
        notice(&format!("wrote {} ({} bytes)", path.display(), bytes.len()));
    }
    Ok(Status::Success)
}
