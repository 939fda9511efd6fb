//! Reading Debian packages.
//!
//! Sources: deb(5), deb-control(5), dpkg's own list of maintainer scripts.

use super::{Format, LIMIT, Package, PackagedPath, Script, Signature, Verdict, damaged, members};
use crate::compression::reader;
use crate::package::openpgp::{self, SignaturePacket};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use tar::EntryType;

/// The fields that name other packages.
const RELATIONS: [&str; 9] = [
    "depends",
    "pre-depends",
    "recommends",
    "suggests",
    "enhances",
    "provides",
    "conflicts",
    "breaks",
    "replaces",
];

const SCRIPTS: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];

/// More than the control files of any package.
const CONTROL_LIMIT: u64 = 64 << 20;

pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Package> {
    let members = members(name, bytes)?;
    let find = |prefix: &str| {
        members
            .iter()
            .find(|member| member.name.starts_with(prefix))
            .ok_or_else(|| damaged(name, "its members", &format!("there is no `{prefix}`")))
    };
    let version = find("debian-binary")?;
    if !bytes[version.range.clone()].starts_with(b"2.") {
        return Err(damaged(name, "debian-binary", "it is not of format 2"));
    }
    let mut package = Package::new(Format::Deb, bytes.len());

    let member = find("control.tar")?;
    let control = control_files(name, &member.name, &bytes[member.range.clone()])?;
    let text = |file: &str| {
        control
            .get(file)
            .map(|bytes| String::from_utf8_lossy(bytes))
    };
    let Some(paragraph) = text("control") else {
        return Err(damaged(name, &member.name, "there is no `control` in it"));
    };
    package.describe(paragraph_fields(&paragraph));
    for script in SCRIPTS {
        if let Some(text) = text(script) {
            package.scripts.push(Script {
                name: script.to_owned(),
                triggers: Vec::new(),
                interpreter: text
                    .lines()
                    .next()
                    .and_then(|line| line.strip_prefix("#!"))
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
                text: text.into_owned(),
            });
        }
    }
    if let Some(text) = text("triggers") {
        package.scripts.push(Script {
            name: "triggers".to_owned(),
            triggers: text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect(),
            interpreter: String::new(),
            text: String::new(),
        });
    }

    let member = find("data.tar")?;
    package.sizes.payload = member.range.len() as u64;
    let sums = package.data(name, &member.name, &bytes[member.range.clone()])?;
    if let Some(listed) = text("md5sums") {
        let listed: Vec<(&str, &str)> = listed
            .lines()
            .filter_map(|line| line.split_once("  "))
            .collect();
        let wrong = listed
            .iter()
            .filter(|(sum, path)| sums.get(&format!("/{path}")).is_none_or(|md5| md5 != sum));
        let wrong: Vec<String> = wrong.map(|(_, path)| format!("/{path}")).collect();
        package.file_digests("md5", listed.len(), wrong);
    }
    for path in text("conffiles").unwrap_or_default().lines() {
        if let Some(file) = package.files.get_mut(path.trim()) {
            file.flags.push("config");
        }
    }
    for member in members
        .iter()
        .filter(|member| member.name.starts_with("_gpg"))
    {
        let signature = bytes[member.range.clone()].to_vec();
        package.signatures.push(Signature {
            place: member.name.clone(),
            packet: openpgp::read(&signature).unwrap_or_else(SignaturePacket::unknown),
            verdict: Verdict::NotChecked,
            signer: None,
            checked_by: None,
            bytes: signature,
        });
    }
    if !package.signatures.is_empty() {
        package.signed = signed(bytes, &members);
    }
    Ok(package)
}

/// What an embedded signature is made over: the three members of the package
/// proper, one after the other, as debsigs(1) has it.
pub(crate) fn signed(bytes: &[u8], members: &[super::Member]) -> Vec<u8> {
    let mut signed = Vec::new();
    for prefix in ["debian-binary", "control.tar", "data.tar"] {
        if let Some(member) = members
            .iter()
            .find(|member| member.name.starts_with(prefix))
        {
            signed.extend_from_slice(&bytes[member.range.clone()]);
        }
    }
    signed
}

/// The error of a tar archive; `last` is the member before the damage.
fn broken(package: &str, archive: &str, last: &str, cause: std::io::Error) -> Error {
    let place = if last.is_empty() {
        format!("`{archive}`")
    } else {
        format!("`{archive}`, after `{last}`")
    };
    Error::input(format!("the package `{package}` is damaged: {place}"))
        .caused_by(cause)
        .hint("get the package again")
}

fn control_files(package: &str, name: &str, archive: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let plain = reader(package, archive)?.take(CONTROL_LIMIT);
    let mut archive = tar::Archive::new(plain);
    let mut files = BTreeMap::new();
    let mut last = String::new();
    for entry in archive
        .entries()
        .map_err(|e| broken(package, name, &last, e))?
    {
        let mut entry = entry.map_err(|e| broken(package, name, &last, e))?;
        last = absolute(&entry.path_bytes());
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|e| broken(package, name, &last, e))?;
        files.insert(last.trim_start_matches('/').to_owned(), bytes);
    }
    Ok(files)
}

/// `./usr/bin/x` as the absolute path that it is.
fn absolute(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let path = path.strip_prefix('.').unwrap_or(&path);
    format!("/{}", path.trim_matches('/'))
}

/// The fields of a control file, names in lower case; of lines that go on, the
/// leading space is taken away and a lone dot is an empty line.
fn paragraph_fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix([' ', '\t']), fields.last_mut()) {
            (Some(more), Some((_, value))) => {
                value.push('\n');
                value.push_str(if more == "." { "" } else { more });
            }
            _ => {
                if let Some((name, value)) = line.split_once(':') {
                    fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
            }
        }
    }
    fields
}

impl Package {
    fn describe(&mut self, fields: Vec<(String, String)>) {
        let metadata = &mut self.metadata;
        for (field, value) in fields {
            if let Some(relation) = RELATIONS.iter().find(|relation| **relation == field) {
                let values = value.split(',').map(|part| part.trim().to_owned());
                let values = values.filter(|part| !part.is_empty()).collect();
                self.relations.insert(relation, values);
                continue;
            }
            match field.as_str() {
                "package" => metadata.name = value,
                "version" => metadata.version = value,
                "architecture" => metadata.architecture = value,
                "maintainer" => metadata.maintainer = Some(value),
                "homepage" => metadata.homepage = Some(value),
                "description" => {
                    let (summary, text) = value.split_once('\n').unwrap_or((&value, ""));
                    metadata.summary = summary.to_owned();
                    metadata.description = text.to_owned();
                }
                _ => {
                    metadata.other.insert(field, value);
                }
            }
        }
    }

    /// Reads the files; returns their MD5 sums by path.
    fn data(
        &mut self,
        package: &str,
        name: &str,
        archive: &[u8],
    ) -> Result<HashMap<String, String>> {
        let plain = reader(package, archive)?.take(LIMIT);
        let mut archive = tar::Archive::new(plain);
        let mut sums = HashMap::new();
        let mut last = String::new();
        for entry in archive
            .entries()
            .map_err(|e| broken(package, name, &last, e))?
        {
            let mut entry = entry.map_err(|e| broken(package, name, &last, e))?;
            let path = absolute(&entry.path_bytes());
            let failed = |e| broken(package, name, &path, e);
            let header = entry.header();
            let kind = match header.entry_type() {
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => "file",
                EntryType::Directory => "directory",
                EntryType::Symlink => "symlink",
                EntryType::Link => "hardlink",
                EntryType::Char | EntryType::Block | EntryType::Fifo => "special",
                _ => continue,
            };
            let owner = |name: Option<&[u8]>, number: std::io::Result<u64>| match name {
                Some(name) if !name.is_empty() => Ok(String::from_utf8_lossy(name).into_owned()),
                _ => number.map(|number| number.to_string()),
            };
            let mut file = PackagedPath {
                kind,
                mode: format!("{:04o}", header.mode().map_err(failed)? & 0o7777),
                owner: owner(header.username_bytes(), header.uid()).map_err(failed)?,
                group: owner(header.groupname_bytes(), header.gid()).map_err(failed)?,
                size: 0,
                sha256: None,
                target: entry
                    .link_name_bytes()
                    .map(|target| String::from_utf8_lossy(&target).into_owned()),
                flags: Vec::new(),
            };
            if kind == "file" {
                let hashed = self.content(&path, &mut entry).map_err(failed)?;
                file.size = hashed.size;
                file.sha256 = Some(hashed.sha256);
                self.sizes.installed += hashed.size;
                sums.insert(path.clone(), hashed.md5);
            }
            last.clone_from(&path);
            self.files.insert(path, file);
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_several_lines() {
        let fields = paragraph_fields("Package: a\nDescription: short\n long\n .\n more\n");
        let expected = [("package", "a"), ("description", "short\nlong\n\nmore")];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
