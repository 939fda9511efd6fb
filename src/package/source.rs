//! The source of a package, whatever its format: one tarball.

use super::contents::{self, Contents, PackagedFile, Role};
use super::deb::Tar;
use crate::appliance::shared;
use crate::description::{self, Description, Engine, Source as FileSource};
use crate::family::Family;
use crate::skeleton::{self, Prepared};
use crate::{Error, Result, files};
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// Keys of a description that are about a release of a version.
const OF_A_RELEASE: [&str; 3] = ["changelog", "epoch", "release"];

/// What every source package of an appliance is made from.
#[derive(Debug)]
pub struct Source<'a> {
    /// The author's description.
    pub description: &'a Description,
    /// The tarball, compressed with xz; everything in it lies in `NAME-VERSION/`.
    pub(super) tarball: Vec<u8>,
}

impl<'a> Source<'a> {
    /// The source of `description`, which stands in the file `path`.
    ///
    /// Archives of distributions take the tarball of a version once, so it is the
    /// same for every release.
    pub fn new(description: &'a Description, path: &Path) -> Result<Self> {
        let time = skeleton::source_timestamp(description)?;
        let mut members = described(description, path)?;
        if description.engine == Engine::Supermin {
            let request = skeleton::Request {
                description,
                // What differs between families is made where the package is built.
                family: Family::Debian,
                host: None,
                download: None,
            };
            let prepared = skeleton::prepare_at(&request, time)?;
            members.extend(rendered(description, &prepared, "skeleton", time)?);
            members.retain(|file| file.path != "skeleton/packages");
        }
        members.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            description,
            tarball: pack(
                &format!("{}-{}", description.name, description.version),
                &members,
                time,
            )?,
        })
    }

    /// The tarball's name in a source RPM.
    pub(super) fn tarball_name(&self) -> String {
        format!(
            "{}-{}.tar.xz",
            self.description.name, self.description.version
        )
    }

    /// What the packages for `family` say of themselves.
    pub(super) fn contents(&self, family: Family) -> Result<Contents<'a>> {
        Contents::without_files(self.description, family)
    }
}

/// What a source package installs, rendered into a directory: `boot-NAME`, its
/// man page, `copyright`, the skeleton in `supermin.d`, and of a shared appliance
/// how it is made.
pub fn tree(description: &Description, prepared: &Prepared) -> Result<Vec<PackagedFile>> {
    let time = skeleton::timestamp(description)?;
    rendered(description, prepared, "supermin.d", time)
}

fn rendered(
    description: &Description,
    prepared: &Prepared,
    directory: &str,
    time: u32,
) -> Result<Vec<PackagedFile>> {
    let name = &description.name;
    let texts = contents::render(description, time)?;
    let mut found = vec![
        plain(format!("boot-{name}"), 0o755, texts.wrapper),
        plain(format!("boot-{name}.1"), 0o644, texts.man_page),
        plain("copyright".into(), 0o644, texts.copyright),
    ];
    if let Some(settings) = texts.settings {
        found.push(plain(shared::SETTINGS.into(), 0o644, settings));
    }
    let skeleton = prepared.files.iter();
    found.extend(
        skeleton.map(|(file, bytes)| plain(format!("{directory}/{file}"), 0o644, bytes.clone())),
    );
    Ok(found)
}

fn plain(path: String, mode: u16, bytes: Vec<u8>) -> PackagedFile {
    PackagedFile {
        path,
        mode,
        bytes,
        role: Role::Plain,
    }
}

/// The description, and the files that it names, in `appliance/`.
fn described(description: &Description, path: &Path) -> Result<Vec<PackagedFile>> {
    const DESCRIPTION: &str = "appliance/appliance.yaml";
    let folder = path.parent().unwrap_or(Path::new(""));
    // What is of a release is said by the packages themselves.
    let text = description::without(&files::read_text(path)?, &OF_A_RELEASE);
    let mut found = vec![plain(DESCRIPTION.into(), 0o644, text.into_bytes())];
    for file in &description.files {
        let FileSource::File(source) = &file.source else {
            continue;
        };
        let cannot = |why: &str, advice: &str| {
            Error::input(format!(
                "`{}` cannot be put into a source package: {why}",
                source.display()
            ))
            .hint(advice)
        };
        // A folder that is not named is `.`, which the description adds.
        let relative = source.strip_prefix(".").unwrap_or(source);
        let relative = relative.strip_prefix(folder).unwrap_or(relative);
        let inside: Vec<_> = relative.components().collect();
        if !inside
            .iter()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(cannot(
                "its path goes up with `..`",
                "write the path in the description without `..`",
            ));
        }
        let Some(relative) = relative.to_str() else {
            return Err(cannot("its name is not UTF-8", "rename it"));
        };
        let to = format!("appliance/{relative}");
        if to == DESCRIPTION && path.file_name() != source.file_name() {
            return Err(cannot(
                "the description has that name there",
                "rename one of the two",
            ));
        }
        // One file may go to several places of the appliance.
        if found.iter().all(|other| other.path != to) {
            let mode = if file.mode & 0o100 == 0 { 0o644 } else { 0o755 };
            found.push(plain(to, mode, files::read(source)?));
        }
    }
    Ok(found)
}

/// A tar archive of `members`, which are sorted, all of it in the directory `top`.
pub(super) fn pack(top: &str, members: &[PackagedFile], time: u32) -> Result<Vec<u8>> {
    let mut archive = Tar::new(time);
    let mut done = BTreeSet::new();
    for member in members {
        let path = format!("{top}/{}", member.path);
        for (at, _) in path.match_indices('/') {
            if done.insert(path[..=at].to_owned()) {
                archive.directory(&path[..=at])?;
            }
        }
        archive.file(&path, member.mode.into(), &member.bytes)?;
    }
    archive.finish()
}
