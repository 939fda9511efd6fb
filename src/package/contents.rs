//! What goes into a package, whatever its format.

use super::lifecycle::{self, Scriptlet, StatePath};
use crate::appliance::shared;
use crate::description::{Dependency, Description, Init, Maintainer, Rehydrate, Source};
use crate::family::Family;
use crate::skeleton::{self, Prepared, guest};
use crate::{Error, Result, files, templates, timestamp};
use flate2::{Compression, GzBuilder};
use serde_json::json;
use std::io::Write;
use std::path::Path;

const WRAPPER: &str = include_str!("../../templates/boot-wrapper.sh.hbs");
const MAN_PAGE: &str = include_str!("../../templates/boot.1.hbs");
const COPYRIGHT: &str = include_str!("../../templates/copyright.hbs");

/// A package before it has a format.
#[derive(Debug, Clone)]
pub struct Contents<'a> {
    /// The appliance that it brings: name, version, summary, changelog, ...
    pub description: &'a Description,
    /// The family that it is for.
    pub family: Family,
    /// Packages of the family that it is made of.
    pub depends: Vec<Dependency>,
    /// Its files, in the order of their paths.
    pub files: Vec<PackagedFile>,
    /// Scripts that the package manager runs; none for an appliance that is
    /// rehydrated at boot.
    pub scriptlets: Vec<Scriptlet>,
    /// What the scripts make, outermost first.
    pub state: Vec<StatePath>,
    /// The architecture that it is for; `None` if it fits all.
    pub architecture: Option<&'static str>,
    /// The time that everything in it carries, in seconds since 1970.
    pub timestamp: u32,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagedFile {
    /// Its path, absolute.
    pub path: String,
    /// Its permission bits.
    pub mode: u16,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What kind of file it is.
    pub role: Role,
}

/// What a file of a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is used.
    Plain,
    /// It is read by people.
    Documentation,
    /// It is a licence.
    License,
}

/// An entry of a package's changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The version with its release, and with the epoch if it is this package's.
    pub version: String,
    /// Who made it.
    pub author: Maintainer,
    /// When, in seconds since 1970.
    pub time: u32,
    /// What was done, a line each.
    pub changes: Vec<String>,
}

impl<'a> Contents<'a> {
    /// What the package of `description` for `family` holds.
    pub fn new(description: &'a Description, prepared: &Prepared, family: Family) -> Result<Self> {
        let name = &description.name;
        let mut contents = Self::without_files(description, family)?;
        let texts = render(description, contents.timestamp)?;
        let file = |path: String, mode, bytes, role| PackagedFile {
            path,
            mode,
            bytes,
            role,
        };
        contents.files.push(file(
            format!("/usr/bin/boot-{name}"),
            0o755,
            texts.wrapper,
            Role::Plain,
        ));
        for (member, bytes) in &prepared.files {
            let path = format!("{}/{member}", directory(name));
            contents
                .files
                .push(file(path, 0o644, bytes.clone(), Role::Plain));
        }
        if let Some(settings) = texts.settings {
            let path = format!("{}/{name}/{}", shared::SKELETONS, shared::SETTINGS);
            contents
                .files
                .push(file(path, 0o644, settings, Role::Plain));
        }
        let path = format!("/usr/share/man/man1/boot-{name}.1.gz");
        contents.files.push(file(
            path,
            0o644,
            gzip(&texts.man_page)?,
            Role::Documentation,
        ));
        if family == Family::Debian {
            let doc = format!("/usr/share/doc/{name}");
            let path = format!("{doc}/copyright");
            contents
                .files
                .push(file(path, 0o644, texts.copyright, Role::Plain));
            let changelog = gzip(super::deb::changelog(&contents).as_bytes())?;
            let path = format!("{doc}/changelog.Debian.gz");
            contents
                .files
                .push(file(path, 0o644, changelog, Role::Plain));
        } else {
            let path = format!("/usr/share/licenses/{name}/copyright");
            contents
                .files
                .push(file(path, 0o644, texts.copyright, Role::License));
        }
        contents.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(contents)
    }

    /// What the package of `description` for `family` says of itself, for a
    /// source package, whose files are not made yet.
    pub fn without_files(description: &'a Description, family: Family) -> Result<Self> {
        let own = description.packages.dependencies(family);
        let mut depends: Vec<Dependency> = own.cloned().collect();
        let guest = guest::packages(family, description)
            .into_iter()
            .map(Dependency::any);
        let named = description.packages.for_family(family);
        depends.extend(guest.filter(|package| !named.contains(&package.names()[0])));
        depends.sort_unstable();
        depends.dedup();
        let shared = description.rehydrate == Rehydrate::AtInstall;
        let (scriptlets, state) = if shared {
            let name = &description.name;
            (lifecycle::scriptlets(name, family)?, lifecycle::state(name))
        } else {
            (Vec::new(), Vec::new())
        };
        Ok(Self {
            description,
            family,
            depends,
            files: Vec::new(),
            scriptlets,
            state,
            architecture: architecture(description)?,
            timestamp: skeleton::timestamp(description)?,
        })
    }

    /// The names of the packages that it is made of, as the skeleton has them.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.depends.iter().flat_map(Dependency::names).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The changelog, newest first; its newest entry is of this version.
    pub(super) fn changelog(&self) -> Vec<Entry> {
        let description = self.description;
        let version = self.full_version();
        let bare = format!("{}-{}", description.version, description.release);
        let entries = description.changelog.iter().map(|change| {
            let mut of = change.version.clone();
            if !of.contains('-') {
                of = format!("{of}-{}", description.release);
            }
            Entry {
                version: if of == bare { version.clone() } else { of },
                author: change.author.clone(),
                time: change.date.timestamp(),
                changes: change.changes.clone(),
            }
        });
        let mut entries: Vec<Entry> = entries.collect();
        if entries.first().is_none_or(|entry| entry.version != version) {
            let entry = Entry {
                version,
                author: description.maintainer.clone(),
                time: self.timestamp,
                changes: vec!["Package made by Freezedry.".to_owned()],
            };
            entries.insert(0, entry);
        }
        entries
    }

    /// Version and release, with the epoch if there is one.
    pub(super) fn full_version(&self) -> String {
        let Description {
            epoch,
            version,
            release,
            ..
        } = self.description;
        let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        format!("{epoch}{version}-{release}")
    }
}

/// What is rendered for an appliance, whatever the format of its package.
pub(super) struct Texts {
    pub(super) wrapper: Vec<u8>,
    pub(super) man_page: Vec<u8>,
    pub(super) copyright: Vec<u8>,
    /// How a shared appliance is made; `None` if it is not shared.
    pub(super) settings: Option<Vec<u8>>,
}

/// Renders the texts of `description`, which carry `time`.
pub(super) fn render(description: &Description, time: u32) -> Result<Texts> {
    let data = data(description, time);
    let render = |name, template| Ok(templates::render(name, template, &data)?.into_bytes());
    Ok(Texts {
        wrapper: render("boot-wrapper.sh.hbs", WRAPPER)?,
        man_page: render("boot.1.hbs", MAN_PAGE)?,
        copyright: render("copyright.hbs", COPYRIGHT)?,
        settings: match description.rehydrate {
            Rehydrate::AtInstall => Some(settings(description)?),
            Rehydrate::AtBoot => None,
        },
    })
}

/// The architecture of the programs that come with the appliance, as the kernel
/// names it; `None` if there is none.  All have to be for the one that boots.
fn architecture(description: &Description) -> Result<Option<&'static str>> {
    let mut found = None;
    for file in &description.files {
        let Source::File(path) = &file.source else {
            continue;
        };
        let bytes = files::read(path)?;
        if !bytes.starts_with(b"\x7fELF") {
            continue;
        }
        // `e_machine`, see elf(5).
        match bytes.get(0x12..0x14) {
            Some([0x3e, 0]) => found = Some("x86_64"),
            Some([0xb7, 0]) => return Err(foreign(path, "for aarch64")),
            _ => return Err(foreign(path, "not for x86_64")),
        }
    }
    Ok(found)
}

fn foreign(path: &Path, what: &str) -> Error {
    Error::input(format!(
        "`{}` is a program that is {what}, and appliances boot on x86_64 alone",
        path.display()
    ))
    .hint("name one in `files` that is built for x86_64, or a script; data may be put into an archive")
}

/// Where the skeleton of an appliance is installed.
fn directory(name: &str) -> String {
    format!("{}/{name}/supermin.d", shared::SKELETONS)
}

/// How the shared appliance is made.
fn settings(description: &Description) -> Result<Vec<u8>> {
    let settings = shared::Settings {
        modules: description.boot.modules.clone(),
        all_modules: description.boot.all_modules,
    };
    let mut text = serde_json::to_vec(&settings)
        .map_err(|e| Error::input("cannot write the settings of the appliance").caused_by(e))?;
    text.push(b'\n');
    Ok(text)
}

/// What the templates know.
fn data(description: &Description, time: u32) -> serde_json::Value {
    let boot = &description.boot;
    let mut options: Vec<String> = boot
        .modules
        .iter()
        .map(|name| format!(" --module={name}"))
        .collect();
    options.extend(boot.all_modules.then(|| " --all-modules".to_owned()));
    let shared = description.rehydrate == Rehydrate::AtInstall;
    options.extend(shared.then(|| " --shared".to_owned()));
    options.extend(
        boot.ports
            .iter()
            .map(|(host, guest)| format!(" --port={host}:{guest}")),
    );
    options.extend(
        boot.persistent
            .iter()
            .map(|path| format!(" --persist={}", templates::shell_quote(path))),
    );
    options.extend(boot.graphical.then(|| " --graphical".to_owned()));
    let forwards = boot
        .ports
        .iter()
        .map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
    let does = match &boot.init {
        Init::Command(line) => format!("runs this command in it: {line}"),
        Init::Shell => "opens a shell in it".to_owned(),
        Init::Systemd => "starts its services and offers a login".to_owned(),
    };
    let (year, ..) = timestamp::date(time);
    json!({
        "name": description.name,
        "year": year,
        "summary": description.summary,
        "description": roff(&description.description),
        "does": roff(&does),
        "license": description.license,
        "license_names": debian_license(&description.license),
        "author": description.maintainer.to_string(),
        "url": description.url.clone().unwrap_or_default(),
        "version": description.version,
        "skeleton": directory(&description.name),
        "shared": shared,
        "state": format!("{}/{}", shared::DIRECTORY, description.name),
        "memory": (boot.memory >> 20).to_string(),
        "cpus": boot.cpus.to_string(),
        "network": if boot.network { "user" } else { "none" },
        "runs_command": if matches!(boot.init, Init::Command(_)) { "yes" } else { "no" },
        "options": options.concat(),
        "persistent": !boot.persistent.is_empty(),
        "graphical": boot.graphical,
        "kept": roff(&boot.persistent.join(", ")),
        "forwards": forwards.collect::<String>(),
        "roff_name": roff(&description.name),
        "roff_summary": roff(&description.summary),
    })
}

/// An SPDX expression in the words of a machine-readable copyright file.
///
/// Source: <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>,
/// "License specification"; other short names are the author's own there.
fn debian_license(spdx: &str) -> String {
    let words = spdx.split(' ').map(|word| {
        let bare = word.trim_matches(['(', ')']);
        let gnu = ["GPL-", "LGPL-", "AGPL-", "GFDL-"];
        let name = match bare {
            "OR" => "or".to_owned(),
            "AND" => "and".to_owned(),
            "WITH" => "with".to_owned(),
            "MIT" => "Expat".to_owned(),
            "BSD-2-Clause" => "BSD-2-clause".to_owned(),
            "BSD-3-Clause" => "BSD-3-clause".to_owned(),
            of if gnu.iter().any(|start| of.starts_with(start)) => match of.strip_suffix("-only") {
                Some(only) => only.replace(".0", ""),
                None => of.replace(".0", "").replace("-or-later", "+"),
            },
            other => other.to_owned(),
        };
        word.replace(bare, &name)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `text` for a man page: nothing in it is a request or an escape.
fn roff(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let escaped = line.trim().replace('\\', "\\(rs").replace('-', "\\-");
        match escaped.chars().next() {
            None => ".PP".to_owned(),
            Some('.' | '\'') => format!("\\&{escaped}"),
            Some(_) => escaped,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Compressed as documentation is: the smallest, without name and time.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(3) // Unix, wherever we run
        .write(Vec::new(), Compression::best());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|e| crate::Error::io("cannot compress", "documentation", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_have_debian_s_names() {
        for (spdx, names) in [
            ("MIT", "Expat"),
            ("MIT OR Apache-2.0", "Expat or Apache-2.0"),
            (
                "(MIT AND BSD-3-Clause) OR Zlib",
                "(Expat and BSD-3-clause) or Zlib",
            ),
            ("GPL-2.0-or-later", "GPL-2+"),
            ("LGPL-2.1-only", "LGPL-2.1"),
            ("GPL-3.0+", "GPL-3+"),
        ] {
            assert_eq!(debian_license(spdx), names);
        }
    }
}
