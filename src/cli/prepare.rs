//! `freezedry prepare`: a description becomes a skeleton.

use super::{Status, describe};
use crate::Result;
use crate::host::{Host, download};
use crate::skeleton;
use std::path::{Path, PathBuf};

/// Turn a description into a skeleton, the `supermin.d` directory that
/// `freezedry rehydrate` and `supermin --build` take
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The description
    #[arg(value_name = "FILE")]
    description: PathBuf,
    /// The directory to write
    #[arg(short, long, value_name = "DIR", default_value = "supermin.d")]
    output: PathBuf,
    /// Download the packages whose configuration files were edited on this
    /// machine, or that you may not read, and take the files as the packages
    /// have them
    #[arg(long)]
    download: bool,
    /// A configuration file for the package manager that downloads
    #[arg(long, value_name = "FILE", requires = "download")]
    packager_config: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let Some(description) = describe::load(&arguments.description) else {
        return Ok(Status::Problems);
    };
    let host = Host::detect(Path::new("/"))?;
    let prepared = skeleton::prepare(&skeleton::Request {
        description: &description,
        family: host.family(),
        host: Some(&host),
        download: arguments.download.then_some(download::Options {
            config: arguments.packager_config.as_deref(),
        }),
    })?;
    describe::explain(&prepared);
    skeleton::write(&prepared, &arguments.output)?;
    Ok(Status::Success)
}
