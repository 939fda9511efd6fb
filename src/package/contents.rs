//! What goes into a package, whatever its format.

use crate::description::{Description, Init, Source};
use crate::family::Family;
use crate::skeleton::{self, Prepared, guest};
use crate::{Error, Result, files, templates, timestamp};
use flate2::{Compression, GzBuilder};
use serde_json::json;
use std::io::Write;

const WRAPPER: &str = include_str!("../../templates/boot-wrapper.sh.hbs");
const MAN_PAGE: &str = include_str!("../../templates/boot.1.hbs");
const COPYRIGHT: &str = include_str!("../../templates/copyright.hbs");

/// A package before it has a format.
#[derive(Debug, Clone)]
pub struct Contents<'a> {
    /// The appliance that it brings: name, version, summary, changelog, ...
    pub description: &'a Description,
    /// Packages of the family that it needs.
    pub depends: Vec<String>,
    /// Its files, in the order of their paths.
    pub files: Vec<PackagedFile>,
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

impl<'a> Contents<'a> {
    /// What the package of `description` for `family` holds.
    pub fn new(description: &'a Description, prepared: &Prepared, family: Family) -> Result<Self> {
        let name = &description.name;
        let time = skeleton::timestamp(description)?;
        let mut depends = description.packages.for_family(family);
        depends.extend(guest::packages(family));
        depends.sort_unstable();
        depends.dedup();
        let mut contents = Self {
            description,
            depends: depends.into_iter().map(str::to_owned).collect(),
            files: Vec::new(),
            architecture: architecture(description)?,
            timestamp: time,
        };
        let data = data(description, time);
        let file = |path: String, mode, bytes, role| PackagedFile {
            path,
            mode,
            bytes,
            role,
        };
        let script = templates::render("boot-wrapper.sh.hbs", WRAPPER, &data)?;
        contents.files.push(file(
            format!("/usr/bin/boot-{name}"),
            0o755,
            script.into_bytes(),
            Role::Plain,
        ));
        for (member, bytes) in &prepared.files {
            let path = format!("{}/{member}", directory(name));
            contents
                .files
                .push(file(path, 0o644, bytes.clone(), Role::Plain));
        }
        let page = templates::render("boot.1.hbs", MAN_PAGE, &data)?;
        let path = format!("/usr/share/man/man1/boot-{name}.1.gz");
        contents.files.push(file(
            path,
            0o644,
            gzip(page.as_bytes())?,
            Role::Documentation,
        ));
        let copyright = templates::render("copyright.hbs", COPYRIGHT, &data)?.into_bytes();
        if family == Family::Debian {
            let doc = format!("/usr/share/doc/{name}");
            let path = format!("{doc}/copyright");
            contents
                .files
                .push(file(path, 0o644, copyright, Role::Plain));
            let changelog = gzip(super::deb::changelog(&contents).as_bytes())?;
            let path = format!("{doc}/changelog.Debian.gz");
            contents
                .files
                .push(file(path, 0o644, changelog, Role::Plain));
        } else {
            let path = format!("/usr/share/licenses/{name}/copyright");
            contents
                .files
                .push(file(path, 0o644, copyright, Role::License));
        }
        contents.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(contents)
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

/// The architecture of the programs that come with the appliance, as the kernel
/// names it; `None` if there is none.
fn architecture(description: &Description) -> Result<Option<&'static str>> {
    for file in &description.files {
        let Source::File(path) = &file.source else {
            continue;
        };
        let bytes = files::read(path)?;
        if !bytes.starts_with(b"\x7fELF") {
            continue;
        }
        // `e_machine`, see elf(5).
        return match bytes.get(0x12..0x14) {
            Some([0x3e, 0]) => Ok(Some("x86_64")),
            Some([0xb7, 0]) => Ok(Some("aarch64")),
            _ => Err(Error::input(format!(
                "`{}` is a program for an architecture that is not known",
                path.display()
            ))
            .hint("use one for x86_64 or aarch64, or a script")),
        };
    }
    Ok(None)
}

/// Where the skeleton of an appliance is installed.
fn directory(name: &str) -> String {
    format!("/usr/share/freezedry/{name}/supermin.d")
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
        "author": format!("{} <{}>", description.maintainer.name, description.maintainer.email),
        "url": description.url.clone().unwrap_or_default(),
        "version": description.version,
        "skeleton": directory(&description.name),
        "memory": (boot.memory >> 20).to_string(),
        "cpus": boot.cpus.to_string(),
        "network": if boot.network { "user" } else { "none" },
        "runs_command": if matches!(boot.init, Init::Command(_)) { "yes" } else { "no" },
        "options": options.concat(),
        "persistent": !boot.persistent.is_empty(),
        "kept": roff(&boot.persistent.join(", ")),
        "forwards": forwards.collect::<String>(),
        "roff_name": roff(&description.name),
        "roff_summary": roff(&description.summary),
    })
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
