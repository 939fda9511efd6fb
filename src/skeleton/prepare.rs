//! From a description to a skeleton.

use super::archive::{Member, pack};
use super::guest;
use crate::description::{Description, Source};
use crate::family::Family;
use crate::glob::{self, Pattern};
use crate::host::{ConfigState, Host, Manager, PackageId, Resolution, download};
use crate::node::{Content, Node};
use crate::{Error, Result, error::Kind, files, timestamp};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The time that outputs carry where neither `SOURCE_DATE_EPOCH` nor a
/// changelog says one: 2025-01-01.  It cannot be the clock's, or building
/// twice would differ; and not 1970, which packaging tools complain of.
pub const DEFAULT_TIMESTAMP: u32 = 1_735_689_600;

/// Configuration files of one Fedora package that every administrator edits.
const ACCOUNTS: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"];

/// What to prepare.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The author's description.
    pub description: &'a Description,
    /// Whose package names go in.
    pub family: Family,
    /// The host whose installed packages give the base image; `None`, or one
    /// of another family, for a skeleton without one.
    pub host: Option<&'a Host>,
    /// Whether and how to download the packages whose configuration files
    /// somebody edited, or that this user may not read, for the files that they
    /// brought.  Without it such files are left out.
    pub download: Option<download::Options<'a>>,
}

/// A skeleton that is not written yet.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// Its files: name and content.
    pub files: BTreeMap<&'static str, Vec<u8>>,
    /// Packages that the description names and the host does not have.
    pub missing: Vec<String>,
    /// The host has no package database that can be read, so that nothing is
    /// known of any package.
    pub plain: bool,
    /// Configuration files that are left out because somebody edited them.
    pub edited: Vec<PathBuf>,
    /// What a user should know about downloaded files.
    pub notes: Vec<String>,
    /// Configuration files that are left out because nobody can tell whether
    /// they are as their package had them.
    pub unverifiable: Vec<PathBuf>,
}

/// The time that outputs of `description` carry, in seconds since 1970:
/// `SOURCE_DATE_EPOCH`, else the day of the newest changelog entry.
pub fn timestamp(description: &Description) -> Result<u32> {
    let newest = description
        .changelog
        .iter()
        .map(|change| change.date.timestamp());
    timestamp::source_date_epoch(newest.max().unwrap_or(DEFAULT_TIMESTAMP))
}

/// The time that the source of this version carries, whatever its release: the day
/// of its first release that the changelog knows, if that is not after
/// `SOURCE_DATE_EPOCH`.
pub fn source_timestamp(description: &Description) -> Result<u32> {
    let entries = description.changelog.iter().filter(|change| {
        let version = change.version.split('-').next();
        version == Some(&description.version)
    });
    let first = entries.map(|change| change.date.timestamp()).min();
    let first = first.unwrap_or(DEFAULT_TIMESTAMP);
    Ok(first.min(timestamp::source_date_epoch(first)?))
}

/// Makes the skeleton of a description.
pub fn prepare(request: &Request<'_>) -> Result<Prepared> {
    prepare_at(request, timestamp(request.description)?)
}

/// Makes the skeleton of a description, in which everything is of this time.
pub fn prepare_at(request: &Request<'_>, time: u32) -> Result<Prepared> {
    let description = request.description;
    let mut prepared = Prepared::default();

    let mut names = description.packages.for_family(request.family);
    names.extend(guest::packages(request.family, description));
    names.sort_unstable();
    names.dedup();
    prepared.put("packages", lines("", names.iter().copied()));
    prepared.put(
        "hostfiles",
        lines("", description.host_files.iter().map(String::as_str)),
    );
    prepared.put(
        "excludefiles",
        lines("-", description.exclude.iter().map(String::as_str)),
    );

    let mut members = guest::members(description, time)?;
    for file in &description.files {
        let node = match &file.source {
            Source::Text(text) => Node::File(Content::Bytes(text.as_bytes().into())),
            Source::File(path) => Node::File(Content::Bytes(files::read(path)?.into())),
            Source::Symlink(target) => Node::Symlink(target.clone()),
            Source::Directory => Node::Directory,
        };
        // What the author brings counts more than what comes by itself.
        members.retain(|member| member.path != file.path);
        members.push(Member::new(&file.path, node, file.mode, time));
    }
    members.sort_by(|a, b| a.path.cmp(&b.path));
    prepared.put("init.tar.gz", pack(&members)?);

    if let Some(host) = request.host.filter(|host| host.family() == request.family) {
        let members = prepared.base_image(request, &names, host, time)?;
        // An archive without members is an error to supermin.
        if !members.is_empty() {
            prepared.put("base.tar.gz", pack(&members)?);
        }
    }
    Ok(prepared)
}

impl Prepared {
    /// Adds a file, unless there is nothing in it.
    fn put(&mut self, name: &'static str, content: Vec<u8>) {
        if !content.is_empty() {
            self.files.insert(name, content);
        }
    }

    /// The configuration files of the packages as the packages have them:
    /// those of the host whose checksum is still the one in its database.
    fn base_image(
        &mut self,
        request: &Request<'_>,
        names: &[&str],
        host: &Host,
        time: u32,
    ) -> Result<Vec<Member>> {
        let database = host.packages()?;
        self.plain = host.manager() == Manager::None;
        let mut roots = Vec::new();
        for name in names {
            match database.find(name) {
                Some(id) => roots.push(id),
                None => self.missing.push((*name).to_owned()),
            }
        }
        let excludes = request
            .description
            .exclude
            .iter()
            .map(Pattern::new)
            .collect::<Result<Vec<_>>>()?;
        let mut members = Vec::new();
        let closure = database.closure(&roots, Resolution::Correct);
        let mut wanted = Vec::new();
        for file in database.config_files(&closure)? {
            if excludes.iter().any(|pattern| pattern.matches(&file.path)) {
                continue;
            }
            let real = glob::below(host.root(), &file.path);
            match file.state {
                ConfigState::Pristine => {
                    let meta = files::lstat(&real)?;
                    let node = if meta.is_symlink() {
                        let target = std::fs::read_link(&real);
                        Node::Symlink(target.map_err(|e| Error::io("cannot read", &real, e))?)
                    } else if meta.is_file() {
                        Node::File(Content::Bytes(files::read(&real)?.into()))
                    } else {
                        continue; // a directory comes with what is in it
                    };
                    let mode = (meta.mode() & 0o7777) as u16;
                    let mut member = Member::new(&file.path, node, mode, time);
                    (member.uid, member.gid) = (meta.uid(), meta.gid());
                    members.push(member);
                }
                // Accounts are made anew wherever the appliance is rehydrated.
                ConfigState::Edited if ACCOUNTS.iter().any(|path| file.path == Path::new(path)) => {
                }
                ConfigState::Edited => {
                    wanted.push(file.path.clone());
                    self.edited.push(file.path);
                }
                ConfigState::Unverifiable => {
                    wanted.push(file.path.clone());
                    self.unverifiable.push(file.path);
                }
                ConfigState::Unreadable => wanted.push(file.path),
                ConfigState::Missing | ConfigState::Ghost => {}
            }
        }
        if let Some(options) = request.download {
            members.extend(self.download(host, &closure, &wanted, options, time)?);
        }
        members.sort_by(|a, b| a.path.cmp(&b.path));
        members.dedup_by(|a, b| a.path == b.path);
        Ok(members)
    }

    /// What the packages in `closure` had at the paths in `wanted`.
    fn download(
        &mut self,
        host: &Host,
        closure: &[PackageId],
        wanted: &[PathBuf],
        options: download::Options<'_>,
        time: u32,
    ) -> Result<Vec<Member>> {
        let owners = download::owners(host.packages()?, closure, wanted)?;
        let downloaded = download::configuration(host, &owners, options)?;
        self.notes.extend(downloaded.notes);
        let members = downloaded.files.into_iter().map(|file| {
            self.edited.retain(|path| *path != file.path);
            let mut member = Member::file(file.path, file.mode, time, file.content);
            (member.uid, member.gid) = (file.uid, file.gid);
            member
        });
        Ok(members.collect())
    }
}

/// Writes the skeleton to the directory `out`, which is made if it is missing
/// and must otherwise be empty or hold a skeleton of ours.
pub fn write(prepared: &Prepared, out: &Path) -> Result<()> {
    const OURS: [&str; 5] = [
        "packages",
        "hostfiles",
        "excludefiles",
        "init.tar.gz",
        "base.tar.gz",
    ];
    if out.exists() {
        let cannot = |e| Error::io("cannot list", out, e);
        for entry in std::fs::read_dir(out).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            if !OURS.iter().any(|ours| name == *ours) {
                return Err(Error::new(
                    Kind::Input,
                    format!(
                        "`{}` already holds `{}`, which belongs to no skeleton",
                        out.display(),
                        name.display()
                    ),
                )
                .hint("name an empty or a new directory"));
            }
        }
        for name in OURS
            .iter()
            .filter(|name| !prepared.files.contains_key(*name))
        {
            let path = out.join(name);
            if path.exists() {
                std::fs::remove_file(&path).map_err(|e| Error::io("cannot remove", &path, e))?;
            }
        }
    }
    files::create_dir_all(out)?;
    for (name, content) in &prepared.files {
        files::write(out.join(name), content)?;
    }
    Ok(())
}

pub(super) fn lines<'a>(prefix: &str, words: impl Iterator<Item = &'a str>) -> Vec<u8> {
    words
        .map(|word| format!("{prefix}{word}\n"))
        .collect::<String>()
        .into_bytes()
}
