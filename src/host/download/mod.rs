//! Configuration files as their packages have them, where the host's own have
//! been edited: out of packages that the host's package manager downloads.

mod open;
mod rpm;
mod tool;

use super::checksum;
use super::packages::PackageId;
use super::{Host, PackageDatabase};
use crate::glob::below;
use crate::{Error, Result, command, files};
use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tool::Tool;

/// How packages are downloaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// A configuration file for the package manager, instead of its own (of
    /// apt-get: besides its own).
    pub config: Option<&'a Path>,
}

/// A regular file with the content that its package has.
///
/// Mode and owner are those that the file has on the host, since packages set
/// them by scripts too; those in the package only if it is missing there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pristine {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Permission bits, at most 0o7777.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time, in seconds since 1970.
    pub mtime: i64,
}

/// What came out of the packages.
#[derive(Debug, Clone, Default)]
pub struct Downloaded {
    /// The files, sorted by path.  One that a package does not have is missing.
    pub files: Vec<Pristine>,
    /// What a user should know: other versions, files that were not found.
    pub notes: Vec<String>,
    /// The commands that were run.
    pub commands: Vec<String>,
}

/// Which of `packages` own `paths`, and what of them; as [`configuration`] wants it.
pub fn owners(
    database: &dyn PackageDatabase,
    packages: &[PackageId],
    paths: &[PathBuf],
) -> Result<Vec<(PackageId, Vec<PathBuf>)>> {
    let wanted: HashSet<&PathBuf> = paths.iter().collect();
    let mut owners = Vec::new();
    for &package in packages {
        let files = database.files(&[package])?.into_iter();
        let own: Vec<_> = files
            .map(|file| file.path)
            .filter(|path| wanted.contains(path))
            .collect();
        if !own.is_empty() {
            owners.push((package, own));
        }
    }
    Ok(owners)
}

/// Downloads the packages in `wanted` and takes the paths beside each out of
/// it: the version that is installed if it is to be had, else the one that is.
pub fn configuration(
    host: &Host,
    wanted: &[(PackageId, Vec<PathBuf>)],
    options: Options<'_>,
) -> Result<Downloaded> {
    let mut downloaded = Downloaded::default();
    if wanted.is_empty() {
        return Ok(downloaded);
    }
    if host.root() != Path::new("/") && options.config.is_none() {
        return Err(Error::host(format!(
            "packages for the system below `{}` cannot be downloaded: \
             the package manager would use the configuration of this one",
            host.root().display()
        ))
        .hint("name a configuration file for it"));
    }
    // The commands run elsewhere, where a relative path would mean another file.
    let config = options
        .config
        .map(|path| std::path::absolute(path).map_err(|e| Error::io("cannot find", path, e)));
    let config = config.transpose()?;
    let tool = Tool::choose(host)?;
    let scratch = scratch()?;
    let ids: Vec<PackageId> = wanted.iter().map(|(id, _)| *id).collect();
    fetch(
        host,
        tool,
        &ids,
        scratch.path(),
        config.as_deref(),
        &mut downloaded,
    )?;

    let paths: HashSet<&Path> = wanted
        .iter()
        .flat_map(|(_, paths)| paths.iter().map(PathBuf::as_path))
        .collect();
    let mut found = BTreeMap::new();
    for package in packages_below(scratch.path())? {
        for file in open::files(&package, &paths)? {
            found.insert(file.path.clone(), file);
        }
    }
    let database = host.packages()?;
    for (id, paths) in wanted {
        let package = &database.packages()[*id];
        for path in paths {
            let Some(mut file) = found.remove(path) else {
                downloaded.notes.push(format!(
                    "`{}` is not in the package downloaded for {}",
                    path.display(),
                    package.name
                ));
                continue;
            };
            if let Some(digest) = database.digest(*id, path)?
                && !checksum::matches(&file.content, &digest)
            {
                downloaded.notes.push(format!(
                    "`{}` is not the one that was installed with {package}",
                    path.display()
                ));
            }
            if let Ok(meta) = below(host.root(), path).symlink_metadata()
                && meta.is_file()
            {
                file.mode = (meta.mode() & 0o7777) as u16;
                (file.uid, file.gid) = (meta.uid(), meta.gid());
            }
            downloaded.files.push(file);
        }
    }
    downloaded.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(downloaded)
}

/// Downloads `ids` to `scratch`: all at once in the installed versions; what
/// that does not bring, one by one, in whatever version there is.
fn fetch(
    host: &Host,
    tool: Tool,
    ids: &[PackageId],
    scratch: &Path,
    config: Option<&Path>,
    downloaded: &mut Downloaded,
) -> Result<()> {
    let packages = host.packages()?.packages();
    let commands = &mut downloaded.commands;
    let mut run = |ids: &[PackageId], exact: bool| {
        let ids = ids.iter();
        let specs: Vec<String> = ids.map(|&id| tool.spec(&packages[id], exact)).collect();
        let mut command = tool.command(&specs, scratch, config)?;
        commands.push(format!("{command:?}"));
        command::output(&mut command)
    };
    if !tool.knows_versions() {
        run(ids, false)?;
    } else if run(ids, true).is_err() && ids.len() > 1 {
        // It may have stopped at the first that is not to be had.
        for &id in ids {
            let _ = run(&[id], true); // whether it worked shows below
        }
    }
    for &id in ids {
        let package = &packages[id];
        let there = packages_below(scratch)?;
        if tool.is_there(package, &there) {
            continue;
        }
        if tool.knows_versions() {
            let cannot = || {
                Error::host(format!("cannot download the package {}", package.name)).hint(
                    "check the network and the package manager's sources, or do without a download",
                )
            };
            run(&[id], false).map_err(|e| cannot().caused_by(e))?;
            // zypper calls it a success to find nothing.
            if packages_below(scratch)?.len() == there.len() {
                return Err(cannot());
            }
        }
        downloaded.notes.push(format!(
            "{package} is not to be had; its configuration files come from the version that is"
        ));
    }
    Ok(())
}

/// A directory for downloads, which may be large: in `TMPDIR`, else in /var/tmp.
fn scratch() -> Result<tempfile::TempDir> {
    let parent = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    tempfile::Builder::new()
        .prefix("freezedry-download.")
        .tempdir_in(&parent)
        .map_err(|e| Error::io("cannot create a directory in", &parent, e))
}

/// The package files below `directory`, sorted.
fn packages_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |e| Error::io("cannot list", directory, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let meta = files::lstat(&path)?;
        if meta.is_dir() {
            found.extend(packages_below(&path)?);
        } else if meta.is_file()
            && (name.ends_with(".deb")
                || name.ends_with(".rpm")
                || name.contains(".pkg.tar") && !name.ends_with(".sig"))
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
