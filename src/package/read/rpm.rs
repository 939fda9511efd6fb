//! Reading RPM packages, through the RPM library.

use super::frame::frames;
use super::{
    Format, LIMIT, Metadata, Package, PackagedPath, Script, Signature, Verdict, cpio, damaged,
};
use crate::compression::reader;
use crate::package::hex;
use crate::package::openpgp::{self, SignaturePacket};
use crate::{Error, Result};
use md5::{Digest, Md5};
use rpm::{
    Dependency, DigestStatus, FileFlags, FileType, IndexData, IndexSignatureTag, IndexTag,
    PackageMetadata, Scriptlet, Trigger,
};
use sha2::Sha256;
use std::collections::HashMap;
use std::io::Read;

pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Package> {
    let frames = frames(name, bytes)?;
    let (header, payload) = (&bytes[frames.header.clone()], &bytes[frames.payload]);
    let bad = |e: rpm::Error| damaged(name, "the header", &e.to_string());
    let read = PackageMetadata::parse(&mut &bytes[..frames.header.end]).map_err(bad)?;
    let mut package = Package::new(Format::Rpm, bytes.len());
    package.metadata = metadata(&read).map_err(bad)?;
    for (relation, list) in [
        ("requires", read.get_requires()),
        ("recommends", read.get_recommends()),
        ("suggests", read.get_suggests()),
        ("supplements", read.get_supplements()),
        ("enhances", read.get_enhances()),
        ("provides", read.get_provides()),
        ("conflicts", read.get_conflicts()),
        ("obsoletes", read.get_obsoletes()),
    ] {
        let list = list.map_err(bad)?;
        if !list.is_empty() {
            package
                .relations
                .insert(relation, list.iter().map(relation_text).collect());
        }
    }
    package.scripts = scripts(&read).map_err(bad)?;
    package.sizes.payload = payload.len() as u64;

    let report = read.check_digests().map_err(bad)?;
    let tag = |tag| {
        read.signature
            .get_entry_data_as_string(tag)
            .unwrap_or_default()
    };
    for (algorithm, status, expected) in [
        (
            "sha1",
            report.header_sha1,
            tag(IndexSignatureTag::RPMSIGTAG_SHA1),
        ),
        (
            "sha256",
            report.header_sha256,
            tag(IndexSignatureTag::RPMSIGTAG_SHA256),
        ),
        (
            "sha3-256",
            report.header_sha3_256,
            tag(IndexSignatureTag::RPMSIGTAG_SHA3_256),
        ),
    ] {
        match status {
            DigestStatus::Verified => package.digest("header", algorithm, expected, expected),
            DigestStatus::Mismatch { actual, .. } => {
                package.digest("header", algorithm, expected, &actual);
            }
            DigestStatus::NotPresent | DigestStatus::NotChecked => {}
        }
    }
    if let Ok(sum) = read
        .signature
        .get_entry_data_as_binary(IndexSignatureTag::RPMSIGTAG_MD5)
    {
        let found = Md5::new().chain_update(header).chain_update(payload);
        package.digest(
            "header and payload",
            "md5",
            &hex(sum),
            &hex(&found.finalize()),
        );
    }
    if let Some(expected) = text(&read, IndexTag::RPMTAG_PAYLOADSHA256) {
        let found = hex(&Sha256::digest(payload));
        package.digest("payload", "sha256", &expected, &found);
    }
    package.paths(name, &read)?;
    package.payload(name, &read, payload)?;
    package.signatures(&read).map_err(bad)?;
    if !package.signatures.is_empty() {
        package.signed = header.to_vec();
    }
    Ok(package)
}

/// A tag that is one string or a list of one.
fn text(read: &PackageMetadata, tag: IndexTag) -> Option<String> {
    match read.header.entry(tag as u32).ok()? {
        IndexData::StringTag(text) => Some(text),
        IndexData::StringArray(texts) | IndexData::I18NString(texts) => texts.into_iter().next(),
        IndexData::Int32(numbers) => numbers.first().map(ToString::to_string),
        _ => None,
    }
}

fn metadata(read: &PackageMetadata) -> Result<Metadata, rpm::Error> {
    let get = |tag| text(read, tag);
    let epoch = match read.get_epoch() {
        Ok(epoch) => format!("{epoch}:"),
        Err(_) => String::new(),
    };
    let mut metadata = Metadata {
        name: read.get_name()?.to_owned(),
        version: format!("{epoch}{}-{}", read.get_version()?, read.get_release()?),
        // The architecture of a source package is that of the machine that made it.
        architecture: if read.is_source_package() {
            "src".to_owned()
        } else {
            read.get_arch()?.to_owned()
        },
        summary: get(IndexTag::RPMTAG_SUMMARY).unwrap_or_default(),
        description: get(IndexTag::RPMTAG_DESCRIPTION).unwrap_or_default(),
        license: get(IndexTag::RPMTAG_LICENSE),
        maintainer: get(IndexTag::RPMTAG_PACKAGER),
        homepage: get(IndexTag::RPMTAG_URL),
        ..Metadata::default()
    };
    for (name, tag) in [
        ("group", IndexTag::RPMTAG_GROUP),
        ("vendor", IndexTag::RPMTAG_VENDOR),
        ("distribution", IndexTag::RPMTAG_DISTRIBUTION),
        ("buildhost", IndexTag::RPMTAG_BUILDHOST),
        ("buildtime", IndexTag::RPMTAG_BUILDTIME),
        ("sourcerpm", IndexTag::RPMTAG_SOURCERPM),
        ("payloadcompressor", IndexTag::RPMTAG_PAYLOADCOMPRESSOR),
    ] {
        if let Some(text) = get(tag) {
            metadata.other.insert(name.to_owned(), text);
        }
    }
    Ok(metadata)
}

/// As it stands in a spec file.
fn relation_text(relation: &Dependency) -> String {
    let comparator = relation.flags.comparator_str();
    if comparator.is_empty() {
        relation.name.clone()
    } else {
        format!("{} {comparator} {}", relation.name, relation.version)
    }
}

fn scripts(read: &PackageMetadata) -> Result<Vec<Script>, rpm::Error> {
    let mut scripts = Vec::new();
    let single: [(&str, Result<Scriptlet, rpm::Error>); 9] = [
        ("pretrans", read.get_pre_trans_script()),
        ("pre", read.get_pre_install_script()),
        ("post", read.get_post_install_script()),
        ("preun", read.get_pre_uninstall_script()),
        ("postun", read.get_post_uninstall_script()),
        ("posttrans", read.get_post_trans_script()),
        ("preuntrans", read.get_pre_untrans_script()),
        ("postuntrans", read.get_post_untrans_script()),
        ("verify", read.get_verify_script()),
    ];
    for (name, script) in single {
        match script {
            Ok(script) => scripts.push(Script {
                name: name.to_owned(),
                triggers: Vec::new(),
                interpreter: script.program.unwrap_or_default().join(" "),
                text: script.script,
            }),
            Err(rpm::Error::TagNotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let triggered: [(&str, Vec<Trigger>); 3] = [
        ("trigger", read.get_triggers()?),
        ("filetrigger", read.get_file_triggers()?),
        ("transfiletrigger", read.get_trans_file_triggers()?),
    ];
    for (name, triggers) in triggered {
        for trigger in triggers {
            let conditions = trigger.conditions.iter().map(|condition| {
                relation_text(&Dependency {
                    name: condition.name.clone(),
                    flags: condition.flags,
                    version: condition.version.clone(),
                })
            });
            scripts.push(Script {
                name: name.to_owned(),
                triggers: conditions.collect(),
                interpreter: trigger.program.join(" "),
                text: trigger.script,
            });
        }
    }
    Ok(scripts)
}

/// A name in the payload or the header, to compare the one with the other.
fn bare(path: &str) -> &str {
    path.strip_prefix('.').unwrap_or(path).trim_matches('/')
}

impl Package {
    /// Takes the paths from the header.
    fn paths(&mut self, name: &str, read: &PackageMetadata) -> Result<()> {
        let bad = |e: rpm::Error| damaged(name, "the list of files", &e.to_string());
        for entry in read.get_file_entries().map_err(bad)? {
            let kind = match entry.file_type() {
                FileType::Regular => "file",
                FileType::Dir => "directory",
                FileType::SymbolicLink => "symlink",
                _ => "special",
            };
            let flags = [
                (FileFlags::CONFIG, "config"),
                (FileFlags::NOREPLACE, "noreplace"),
                (FileFlags::DOC, "doc"),
                (FileFlags::LICENSE, "license"),
                (FileFlags::GHOST, "ghost"),
                (FileFlags::SPECFILE, "spec"),
            ];
            let size = if kind == "file" {
                entry.size() as u64
            } else {
                0
            };
            let flags: Vec<&str> = flags
                .into_iter()
                .filter(|(flag, _)| entry.flags().contains(*flag))
                .map(|(_, name)| name)
                .collect();
            if !flags.contains(&"ghost") {
                self.sizes.installed = self.sizes.installed.saturating_add(size);
            }
            let file = PackagedPath {
                kind,
                mode: format!("{:04o}", entry.permissions()),
                owner: entry.user().to_owned(),
                group: entry.group().to_owned(),
                size,
                sha256: None,
                target: entry
                    .linkto()
                    .filter(|target| !target.is_empty())
                    .map(str::to_owned),
                flags,
            };
            self.files.insert(entry.path().display().to_string(), file);
        }
        Ok(())
    }

    /// Reads the files' content and compares it with the digests in the header.
    fn payload(&mut self, name: &str, read: &PackageMetadata, payload: &[u8]) -> Result<()> {
        for (magic, compression) in [(&b"BZh"[..], "bzip2"), (b"\x5d\0\0", "lzma")] {
            if payload.starts_with(magic) {
                return Err(Error::input(format!(
                    "the payload of `{name}` is compressed with {compression}, \
                     which Freezedry does not read"
                ))
                .hint("packages of this century use gzip, xz or zstd"));
            }
        }
        let bad = |e: rpm::Error| damaged(name, "the list of files", &e.to_string());
        let mut expected = HashMap::new();
        for entry in read.get_file_entries().map_err(bad)? {
            if let Some(digest) = entry.digest() {
                let path = entry.path().display().to_string();
                expected.insert(
                    bare(&path).to_owned(),
                    (path, digest.algorithm(), digest.as_hex().to_owned()),
                );
            }
        }
        let mut plain = Hashing {
            inner: reader(name, payload)?.take(LIMIT),
            sha256: Sha256::new(),
        };
        let (mut checked, mut wrong) = (0, Vec::new());
        let result = cpio::members(&mut plain, |member, links, content| {
            let Some((path, algorithm, digest)) = expected.remove(bare(member)) else {
                return Ok(());
            };
            let hashed = self.content(&path, content)?;
            // Of several names of one file, only the last has the content.
            if links > 1 && hashed.size == 0 {
                return Ok(());
            }
            let found = match algorithm {
                rpm::DigestAlgorithm::Md5 => &hashed.md5,
                rpm::DigestAlgorithm::Sha2_256 => &hashed.sha256,
                _ => return Ok(()),
            };
            checked += 1;
            if !digest.eq_ignore_ascii_case(found) {
                wrong.push(path.clone());
            }
            if let Some(file) = self.files.get_mut(&path) {
                file.sha256 = Some(hashed.sha256);
            }
            Ok(())
        });
        result
            .and_then(|()| std::io::copy(&mut plain, &mut std::io::sink()))
            .map_err(|e| {
                Error::input(format!("the package `{name}` is damaged: the payload"))
                    .caused_by(e)
                    .hint("get the package again")
            })?;
        if let Some(expected) = text(read, IndexTag::RPMTAG_PAYLOADSHA256ALT) {
            let found = hex(&plain.sha256.finalize());
            self.digest("payload, uncompressed", "sha256", &expected, &found);
        }
        self.file_digests("sha256", checked, wrong);
        Ok(())
    }

    fn signatures(&mut self, read: &PackageMetadata) -> Result<(), rpm::Error> {
        for bytes in read.raw_signatures()? {
            self.signatures.push(Signature {
                place: "header".to_owned(),
                packet: openpgp::read(&bytes).unwrap_or_else(SignaturePacket::unknown),
                verdict: Verdict::NotChecked,
                signer: None,
                checked_by: None,
                bytes: bytes.into_owned(),
            });
        }
        Ok(())
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    sha256: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..length]);
        Ok(length)
    }
}
