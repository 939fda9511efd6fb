//! Debian binary packages.
//!
//! Sources: deb(5), deb-control(5), deb-changelog(5), Debian Policy.

use super::lifecycle::Scriptlet;
use super::{Contents, text};
use crate::description::{Comparison, Dependency, Description, Packages};
use crate::skeleton::guest;
use crate::{Error, Result, timestamp};
use md5::{Digest, Md5};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The package's file name.
pub fn file_name(contents: &Contents<'_>) -> String {
    let Description {
        name,
        version,
        release,
        ..
    } = contents.description;
    format!("{name}_{version}-{release}_{}.deb", architecture(contents))
}

/// Debian's name of the architecture.
pub(super) fn architecture(contents: &Contents<'_>) -> &'static str {
    match contents.architecture {
        None => "all",
        Some(_) => "amd64",
    }
}

/// The bytes of the package.
pub fn build(contents: &Contents<'_>) -> Result<Vec<u8>> {
    let mut sums = String::new();
    for file in &contents.files {
        let sum = super::hex(&Md5::digest(&file.bytes));
        let path = file.path.trim_start_matches('/');
        writeln!(sums, "{sum}  {path}").map_err(in_memory)?;
    }
    let control = control(contents);
    let members = [
        ("control", control.as_bytes()),
        ("md5sums", sums.as_bytes()),
    ];
    let mut archive = Tar::new(contents.timestamp);
    archive.directory("./")?;
    for (name, bytes) in members {
        archive.file(&format!("./{name}"), 0o644, bytes)?;
    }
    for Scriptlet { moment, text, .. } in &contents.scriptlets {
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        archive.file(&format!("./{}", moment.name()), mode, text.as_bytes())?;
    }
    let control = archive.finish()?;

    let mut archive = Tar::new(contents.timestamp);
    // A directory sorts before what lies in it.
    let mut members: Vec<(String, Option<&super::PackagedFile>)> = directories(contents)
        .into_iter()
        .map(|path| (path, None))
        .collect();
    members.extend(
        contents
            .files
            .iter()
            .map(|file| (format!(".{}", file.path), Some(file))),
    );
    members.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, file) in members {
        match file {
            None => archive.directory(&path)?,
            Some(file) => archive.file(&path, file.mode.into(), &file.bytes)?,
        }
    }
    let data = archive.finish()?;

    let mut package = ar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.xz", &control),
        ("data.tar.xz", &data),
    ] {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        header.set_mode(0o100_644);
        header.set_mtime(contents.timestamp.into());
        package.append(&header, bytes).map_err(in_memory)?;
    }
    package.into_inner().map_err(in_memory)
}

/// The directories that the files lie in, as dpkg's archives write them.
fn directories(contents: &Contents<'_>) -> BTreeSet<String> {
    let mut directories = BTreeSet::new();
    for file in &contents.files {
        for (at, _) in file.path.match_indices('/') {
            directories.insert(format!(".{}", &file.path[..=at]));
        }
    }
    directories
}

fn in_memory(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        crate::error::Kind::System,
        "cannot write the Debian package",
    )
    .caused_by(cause)
}

/// The level of xz.  Those above only look further back than 8 MB, and take time
/// to prepare for it.
pub(super) const LEVEL: u32 = 6;

/// A tar archive compressed with xz, all of it root's and of one time.
pub(super) struct Tar {
    builder: tar::Builder<xz2::write::XzEncoder<Vec<u8>>>,
    time: u32,
}

impl Tar {
    pub(super) fn new(time: u32) -> Self {
        Self {
            builder: tar::Builder::new(xz2::write::XzEncoder::new(Vec::new(), LEVEL)),
            time,
        }
    }

    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        self.add(path, 0o755, tar::EntryType::Directory, b"")
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.add(path, mode, tar::EntryType::Regular, bytes)
    }

    fn add(&mut self, path: &str, mode: u32, kind: tar::EntryType, bytes: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time.into());
        header.set_size(bytes.len() as u64);
        header.set_username("root").map_err(in_memory)?;
        header.set_groupname("root").map_err(in_memory)?;
        // The crate takes a leading `./` away, which dpkg's own archives have.
        let result = match header.as_gnu_mut().map(|gnu| &mut gnu.name) {
            Some(name) if path.len() <= name.len() => {
                name[..path.len()].copy_from_slice(path.as_bytes());
                header.set_cksum();
                self.builder.append(&header, bytes)
            }
            _ => self.builder.append_data(&mut header, path, bytes),
        };
        result.map_err(in_memory)
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        let encoder = self.builder.into_inner().map_err(in_memory)?;
        encoder.finish().map_err(in_memory)
    }
}

fn control(contents: &Contents<'_>) -> String {
    // Blocks of 1024 bytes, files rounded up and a block for each directory, as
    // dpkg-gencontrol counts; the scripts of the package are among the files.
    let files = contents.files.iter().map(|file| file.bytes.len());
    let scripts = contents.scriptlets.iter().map(|script| script.text.len());
    let blocks = files.chain(scripts).map(|length| length.div_ceil(1024));
    let size = blocks.sum::<usize>() + directories(contents).len() + 1;
    let relations: String = relations(contents)
        .iter()
        .map(|(field, value)| format!("{field}: {value}\n"))
        .collect();
    let homepage = contents
        .description
        .url
        .as_ref()
        .map(|url| format!("Homepage: {url}\n"))
        .unwrap_or_default();
    format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: {}\nInstalled-Size: {size}\n\
         {relations}Section: misc\nPriority: optional\nMulti-Arch: foreign\n{homepage}\
         Description: {}\n{}",
        contents.description.name,
        contents.full_version(),
        architecture(contents),
        contents.description.maintainer,
        contents.description.summary,
        text::extended(&contents.description.description),
    )
}

/// The fields that name other packages, in dpkg's order, without empty ones.
pub(super) fn relations(contents: &Contents<'_>) -> Vec<(&'static str, String)> {
    let ours = &contents.description.relations;
    let family = contents.family;
    let list =
        |packages: &Packages| -> Vec<_> { packages.dependencies(family).map(relation).collect() };
    let mut depends = parts(contents);
    let runner = if contents.description.boot.needs_freezedry() {
        "freezedry"
    } else {
        "freezedry | supermin"
    };
    depends.extend([runner, "qemu-system-x86 | qemu-system"].map(str::to_owned));
    // Policy 7.6.2: to replace a package is to conflict with it, too.
    let unwanted = ours.conflicts.dependencies(family);
    let unwanted = unwanted.chain(ours.obsoletes.dependencies(family));
    // Policy 7.4: what is about some versions only is said by Breaks.
    let (breaks, conflicts): (Vec<_>, Vec<_>) =
        unwanted.partition(|of| matches!(of, Dependency::Package { bound: Some(_), .. }));
    let spelled = |list: Vec<&Dependency>| list.into_iter().map(relation).collect();
    // dpkg-gencontrol sorts where the order means nothing.
    let sorted = |mut list: Vec<String>| {
        list.sort_unstable();
        list.dedup();
        list
    };
    let fields = [
        ("Depends", depends),
        ("Recommends", list(&ours.recommends)),
        ("Suggests", list(&ours.suggests)),
        ("Conflicts", sorted(spelled(conflicts))),
        ("Breaks", sorted(spelled(breaks))),
        ("Replaces", sorted(list(&ours.obsoletes))),
        ("Provides", sorted(list(&ours.provides))),
    ];
    let fields = fields.into_iter().filter(|(_, list)| !list.is_empty());
    fields.map(|(name, list)| (name, list.join(", "))).collect()
}

/// The packages that the appliance is made of, but for those that are always there.
pub(super) fn parts(contents: &Contents<'_>) -> Vec<String> {
    let always = |dependency: &&Dependency| match dependency {
        Dependency::Package { name, bound: None } => guest::ESSENTIAL.contains(&name.as_str()),
        _ => false,
    };
    let parts = contents.depends.iter().filter(|part| !always(part));
    parts.map(relation).collect()
}

/// A dependency in Debian's spelling.
fn relation(dependency: &Dependency) -> String {
    match dependency {
        Dependency::Package {
            name,
            bound: Some((comparison, version)),
        } => {
            let sign = match comparison {
                // Policy 7.1: one of these alone has long meant "or equal".
                Comparison::Less => "<<",
                Comparison::Greater => ">>",
                other => other.sign(),
            };
            format!("{name} ({sign} {version})")
        }
        other => other.to_string(),
    }
}

/// `changelog.Debian`.
pub(super) fn changelog(contents: &Contents<'_>) -> String {
    let entries = contents.changelog().into_iter().map(|entry| {
        let mut out = format!(
            "{} ({}) unstable; urgency=medium\n\n",
            contents.description.name, entry.version
        );
        for change in &entry.changes {
            for (number, line) in text::wrap(change, 74).iter().enumerate() {
                out.push_str(if number == 0 { "  * " } else { "    " });
                out.push_str(line);
                out.push('\n');
            }
        }
        out + &format!("\n -- {}  {}\n", entry.author, rfc_5322(entry.time))
    });
    entries.collect::<Vec<_>>().join("\n")
}

/// A time as e-mail writes it, in UTC.
pub(super) fn rfc_5322(time: u32) -> String {
    let (year, month, day) = timestamp::date(time);
    let month = timestamp::MONTHS[month];
    let (weekday, clock) = (timestamp::weekday(time), timestamp::clock(time));
    format!("{weekday}, {day:02} {month} {year} {clock} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_date_writes_them() {
        assert_eq!(rfc_5322(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc_5322(1_709_209_805), "Thu, 29 Feb 2024 12:30:05 +0000");
        assert_eq!(rfc_5322(1_767_225_599), "Wed, 31 Dec 2025 23:59:59 +0000");
    }
}
