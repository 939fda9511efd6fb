//! Source RPMs.
//!
//! The library can only build binary packages, so the header is made here, with
//! the tags that rpmbuild writes.  Sources: rpm's `lib/rpmtag.h`, and
//! <https://rpm-software-management.github.io/rpm/manual/format_v4.html>.

use super::Named;
use super::contents::Contents;
use super::rpm as binary;
use super::source::Source;
use super::spec::{self, Changelog};
use super::text as prose;
use crate::appliance::image::cpio::Archive;
use crate::description::{Comparison, Dependency};
use crate::family::Family;
use crate::{Error, Result, error::Kind};
use rpm::{Header, HeaderEntry, IndexData, IndexTag, Lead, Package, PackageMetadata};
use sha2::{Digest, Sha256};
use std::io::Write;

/// A regular file that everybody may read.
const MODE: u16 = 0o100_644;
/// `RPMFILE_SPECFILE`.
const SPEC_FILE: u32 = 1 << 5;
/// `RPMSENSE_LESS`, `RPMSENSE_GREATER`, `RPMSENSE_EQUAL`, `RPMSENSE_RPMLIB`.
const LESS: u32 = 1 << 1;
const GREATER: u32 = 1 << 2;
const EQUAL: u32 = 1 << 3;
const RPMLIB: u32 = 1 << 24;
/// SHA-256 in the numbers of OpenPGP.
const SHA256: u32 = 8;

/// The package's file name.
pub fn file_name(source: &Source<'_>) -> String {
    let description = source.description;
    format!(
        "{}-{}-{}.src.rpm",
        description.name, description.version, description.release
    )
}

/// The source package: a spec file, which is for Fedora and openSUSE, and the
/// tarball.  What its header says is needed to build it is named as in `family`.
pub fn build(source: &Source<'_>, family: Family) -> Result<Named> {
    let spec = spec::render(source, Changelog::Inside)?.into_bytes();
    // In the order of their names, as rpm has them.
    let files = [
        (source.tarball_name(), source.tarball.clone(), 0),
        (format!("{}.spec", source.description.name), spec, SPEC_FILE),
    ];
    let mut archive = Archive::new(Vec::new(), "the payload of a source RPM");
    for (name, bytes, _) in &files {
        archive.add(name, MODE.into(), bytes)?;
    }
    let plain = archive.finish()?;
    let cannot = |e| Error::io("cannot compress", "the payload of a source RPM", e);
    let mut encoder = xz2::write::XzEncoder::new(Vec::new(), super::deb::LEVEL);
    encoder.write_all(&plain).map_err(cannot)?;
    let payload = encoder.finish().map_err(cannot)?;

    let contents = source.contents(family)?;
    let mut entries = general(&contents, source);
    entries.extend(file_tags(&files, contents.timestamp));
    entries.extend(requirements(&contents));
    entries.extend([
        (IndexTag::RPMTAG_PAYLOADFORMAT, text("cpio")),
        (IndexTag::RPMTAG_PAYLOADCOMPRESSOR, text("xz")),
        (
            IndexTag::RPMTAG_PAYLOADFLAGS,
            text(&super::deb::LEVEL.to_string()),
        ),
        (IndexTag::RPMTAG_PAYLOADSHA256, list([sum(&payload)])),
        (IndexTag::RPMTAG_PAYLOADSHA256ALT, list([sum(&plain)])),
        (IndexTag::RPMTAG_PAYLOADSHA256ALGO, number(SHA256)),
    ]);
    let name = file_name(source);
    let bytes = write(&name, entries, payload)
        .map_err(|e| Error::new(Kind::System, "cannot write the source RPM").caused_by(e))?;
    Ok((name, bytes))
}

type Entry = (IndexTag, IndexData);

fn write(
    name: &str,
    entries: Vec<Entry>,
    payload: Vec<u8>,
) -> std::result::Result<Vec<u8>, rpm::Error> {
    let entries = entries
        .into_iter()
        .map(|(tag, data)| HeaderEntry::new(tag as u32, data));
    let mut metadata = PackageMetadata {
        lead: Lead::new(name.trim_end_matches(".src.rpm")),
        signature: Header::new_empty(),
        header: Header::from_entries(entries, IndexTag::RPMTAG_HEADERIMMUTABLE),
    };
    binary::digest(&mut metadata, payload.len())?;
    let mut bytes = Vec::new();
    Package { metadata, payload }.write(&mut bytes)?;
    // The type in the lead, which the library cannot set: a source package.
    bytes[6..8].copy_from_slice(&[0, 1]);
    Ok(bytes)
}

fn text(value: &str) -> IndexData {
    IndexData::StringTag(value.to_owned())
}

fn number(value: u32) -> IndexData {
    IndexData::Int32(vec![value])
}

fn list(values: impl IntoIterator<Item = String>) -> IndexData {
    IndexData::StringArray(values.into_iter().collect())
}

fn sum(bytes: &[u8]) -> String {
    super::hex(&Sha256::digest(bytes))
}

/// What the package says of itself.
fn general(contents: &Contents<'_>, source: &Source<'_>) -> Vec<Entry> {
    let description = contents.description;
    let local = |value: &str| IndexData::I18NString(vec![value.to_owned()]);
    let architecture = contents.architecture.unwrap_or("noarch");
    let mut entries = vec![
        (IndexTag::RPMTAG_HEADERI18NTABLE, list(["C".to_owned()])),
        (IndexTag::RPMTAG_NAME, text(&description.name)),
        (IndexTag::RPMTAG_VERSION, text(&description.version)),
        (IndexTag::RPMTAG_RELEASE, text(&description.release)),
        (IndexTag::RPMTAG_SUMMARY, local(&description.summary)),
        (
            IndexTag::RPMTAG_DESCRIPTION,
            local(&prose::plain(&description.description)),
        ),
        (IndexTag::RPMTAG_LICENSE, text(&description.license)),
        (IndexTag::RPMTAG_GROUP, local("Unspecified")),
        (IndexTag::RPMTAG_BUILDTIME, number(contents.timestamp)),
        // The name of the machine that builds is nobody's business.
        (IndexTag::RPMTAG_BUILDHOST, text("localhost")),
        (
            IndexTag::RPMTAG_PACKAGER,
            text(&description.maintainer.to_string()),
        ),
        (IndexTag::RPMTAG_OS, text("linux")),
        (IndexTag::RPMTAG_ARCH, text(architecture)),
        (IndexTag::RPMTAG_ENCODING, text("utf-8")),
        (IndexTag::RPMTAG_SOURCEPACKAGE, number(1)),
        (IndexTag::RPMTAG_SOURCE, list([source.tarball_name()])),
        match contents.architecture {
            None => (IndexTag::RPMTAG_BUILDARCHS, list(["noarch".to_owned()])),
            Some(only) => (IndexTag::RPMTAG_EXCLUSIVEARCH, list([only.to_owned()])),
        },
    ];
    if let Some(epoch) = description.epoch {
        entries.push((IndexTag::RPMTAG_EPOCH, number(epoch)));
    }
    if let Some(url) = &description.url {
        entries.push((IndexTag::RPMTAG_URL, text(url)));
    }
    let changelog = binary::changelog(contents);
    let times = changelog.iter().map(|(_, _, time)| *time).collect();
    let (titles, texts): (Vec<_>, Vec<_>) = changelog
        .into_iter()
        .map(|(title, text, _)| (title, text))
        .unzip();
    entries.extend([
        (IndexTag::RPMTAG_CHANGELOGTIME, IndexData::Int32(times)),
        (IndexTag::RPMTAG_CHANGELOGNAME, list(titles)),
        (IndexTag::RPMTAG_CHANGELOGTEXT, list(texts)),
    ]);
    entries
}

/// The tags of the files, each of which has a name, content and flags.
fn file_tags(files: &[(String, Vec<u8>, u32)], time: u32) -> Vec<Entry> {
    let numbers = |value: fn(&(String, Vec<u8>, u32)) -> u32| {
        IndexData::Int32(files.iter().map(value).collect())
    };
    let all = |value: u32| IndexData::Int32(vec![value; files.len()]);
    let words = |word: &str| list(files.iter().map(|_| word.to_owned()));
    let inodes = (1..).take(files.len()).collect();
    vec![
        (
            IndexTag::RPMTAG_SIZE,
            number(files.iter().map(|(_, bytes, _)| bytes.len() as u32).sum()),
        ),
        (
            IndexTag::RPMTAG_BASENAMES,
            list(files.iter().map(|(name, ..)| name.clone())),
        ),
        (IndexTag::RPMTAG_DIRNAMES, list([String::new()])),
        (IndexTag::RPMTAG_DIRINDEXES, all(0)),
        (
            IndexTag::RPMTAG_FILESIZES,
            numbers(|(_, bytes, _)| bytes.len() as u32),
        ),
        (
            IndexTag::RPMTAG_FILEMODES,
            IndexData::Int16(vec![MODE; files.len()]),
        ),
        (
            IndexTag::RPMTAG_FILERDEVS,
            IndexData::Int16(vec![0; files.len()]),
        ),
        (IndexTag::RPMTAG_FILEMTIMES, all(time)),
        (
            IndexTag::RPMTAG_FILEDIGESTS,
            list(files.iter().map(|(_, bytes, _)| sum(bytes))),
        ),
        (IndexTag::RPMTAG_FILEDIGESTALGO, number(SHA256)),
        (IndexTag::RPMTAG_FILELINKTOS, words("")),
        (IndexTag::RPMTAG_FILEFLAGS, numbers(|(_, _, flags)| *flags)),
        (IndexTag::RPMTAG_FILEUSERNAME, words("root")),
        (IndexTag::RPMTAG_FILEGROUPNAME, words("root")),
        (IndexTag::RPMTAG_FILEVERIFYFLAGS, all(u32::MAX)),
        (IndexTag::RPMTAG_FILEDEVICES, all(1)),
        (IndexTag::RPMTAG_FILEINODES, IndexData::Int32(inodes)),
        (IndexTag::RPMTAG_FILELANGS, words("")),
    ]
}

/// BuildRequires, and what rpm has to know to read the package.
fn requirements(contents: &Contents<'_>) -> Vec<Entry> {
    let mut found: Vec<(String, u32, String)> = Vec::new();
    let all = spec::needed(contents);
    let versions: Vec<String> = all.iter().map(Dependency::to_string).collect();
    for needed in all {
        found.push(match needed {
            Dependency::Package { name, bound: None } => (name, 0, String::new()),
            Dependency::Package {
                name,
                bound: Some((comparison, version)),
            } => {
                let sense = match comparison {
                    Comparison::Less => LESS,
                    Comparison::LessOrEqual => LESS | EQUAL,
                    Comparison::Equal => EQUAL,
                    Comparison::GreaterOrEqual => GREATER | EQUAL,
                    Comparison::Greater => GREATER,
                };
                (name, sense, version)
            }
            Dependency::Rich(text) => (text, 0, String::new()),
        });
    }
    let rich = found.iter().any(|(name, ..)| name.starts_with('('));
    let features = [
        ("CompressedFileNames", "3.0.4-1", true),
        ("FileDigests", "4.6.0-1", true),
        ("PayloadIsXz", "5.2-1", true),
        ("RichDependencies", "4.12.0-1", rich),
    ];
    let known = features.into_iter().filter(|(.., wanted)| *wanted);
    let known = known.map(|(feature, since, _)| (feature, since));
    for (feature, since) in known.chain(binary::features(&versions)) {
        let name = format!("rpmlib({feature})");
        found.push((name, RPMLIB | LESS | EQUAL, since.to_owned()));
    }
    found.sort();
    found.dedup();
    let flags = found.iter().map(|(_, flags, _)| *flags).collect();
    vec![
        (
            IndexTag::RPMTAG_REQUIRENAME,
            list(found.iter().map(|(name, ..)| name.clone())),
        ),
        (IndexTag::RPMTAG_REQUIREFLAGS, IndexData::Int32(flags)),
        (
            IndexTag::RPMTAG_REQUIREVERSION,
            list(found.iter().map(|(.., version)| version.clone())),
        ),
    ]
}
