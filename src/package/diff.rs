//! What differs between two packages, skeletons or appliances.

use super::inspect::{ApplianceReport, PackageReport, Report, SkeletonReport};
use crate::{Error, Result, error::Kind, files};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What kind of thing: `metadata`, `depends`, `scripts`, `files`, ...
    pub section: String,
    /// Which one: a field, a name, a path.
    pub item: String,
    /// What it was; `None` where only the second has it.
    pub before: Option<Value>,
    /// What it is; `None` where only the first has it.
    pub after: Option<Value>,
}

/// Everything that can be compared, by section and item.
type Facts = BTreeMap<(String, String), Value>;

/// The differences between `a` and `b`, sorted by section and item; they have
/// to be of the same kind.
pub fn diff(a: &Report, b: &Report) -> Result<Vec<Change>> {
    let (before, mut after) = match (a, b) {
        (Report::Package(a), Report::Package(b)) => (package(a)?, package(b)?),
        (Report::Skeleton(a), Report::Skeleton(b)) => (skeleton(a)?, skeleton(b)?),
        (Report::Appliance(a), Report::Appliance(b)) => (appliance(a)?, appliance(b)?),
        _ => {
            return Err(Error::input(
                "they are of different kinds, so there is nothing to compare",
            )
            .hint("give two packages, two skeletons or two appliances"));
        }
    };
    let mut changes = Vec::new();
    for ((section, item), before) in before {
        let key = (section, item);
        let after = after.remove(&key);
        if after.as_ref() != Some(&before) {
            changes.push(Change {
                section: key.0,
                item: key.1,
                before: Some(before),
                after,
            });
        }
    }
    changes.extend(after.into_iter().map(|((section, item), after)| Change {
        section,
        item,
        before: None,
        after: Some(after),
    }));
    changes.sort_by(|a, b| (&a.section, &a.item).cmp(&(&b.section, &b.item)));
    Ok(changes)
}

fn value(thing: &impl Serialize) -> Result<Value> {
    serde_json::to_value(thing).map_err(|e| Error::new(Kind::System, "cannot compare").caused_by(e))
}

/// Adds the entries of an object or a list as items of `section`.
fn add(facts: &mut Facts, section: &str, things: &impl Serialize) -> Result<()> {
    let mut put = |item: String, value: Value| {
        facts.insert((section.to_owned(), item), value);
    };
    match value(things)? {
        Value::Object(things) => {
            for (item, value) in things.into_iter().filter(|(_, value)| !value.is_null()) {
                put(item, value);
            }
        }
        Value::Array(items) => {
            for item in items {
                let text = item
                    .as_str()
                    .map_or_else(|| item.to_string(), str::to_owned);
                put(text, Value::Bool(true));
            }
        }
        other => put(String::new(), other),
    }
    Ok(())
}

fn package(report: &PackageReport) -> Result<Facts> {
    let package = &report.package;
    let mut facts = Facts::new();
    let mut metadata = value(&package.metadata)?;
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("other");
    }
    add(&mut facts, "metadata", &metadata)?;
    add(&mut facts, "metadata", &package.metadata.other)?;
    add(&mut facts, "metadata", &json!({ "format": package.format }))?;
    for (relation, list) in &package.relations {
        add(&mut facts, relation, list)?;
    }
    for script in &package.scripts {
        let name = if script.triggers.is_empty() {
            script.name.clone()
        } else {
            format!("{} on {}", script.name, script.triggers.join(", "))
        };
        let script = json!({ "interpreter": script.interpreter, "text": script.text });
        facts.insert(("scripts".to_owned(), name), script);
    }
    for signature in &package.signatures {
        let packet = &signature.packet;
        let text = format!("{}/{} by {}", packet.algorithm, packet.hash, packet.key);
        facts.insert(
            ("signatures".to_owned(), signature.place.clone()),
            Value::String(text),
        );
    }
    add(&mut facts, "files", &package.files)?;
    for report in &report.skeletons {
        let within = skeleton(report)?;
        facts.extend(
            within
                .into_iter()
                .map(|((section, item), value)| ((format!("skeleton {section}"), item), value)),
        );
    }
    Ok(facts)
}

fn skeleton(report: &SkeletonReport) -> Result<Facts> {
    let mut facts = Facts::new();
    add(&mut facts, "packages", &report.packages)?;
    add(&mut facts, "hostfiles", &report.hostfiles)?;
    add(&mut facts, "excludefiles", &report.excludefiles)?;
    for (name, members) in &report.archives {
        add(&mut facts, name, members)?;
    }
    Ok(facts)
}

fn appliance(report: &ApplianceReport) -> Result<Facts> {
    let mut facts = Facts::new();
    let said = json!({ "kernel": report.kernel, "uuid": report.uuid });
    add(&mut facts, "appliance", &said)?;
    for (name, sizes) in &report.files {
        let digest = content(&Path::new(&report.path).join(name))?;
        // How much of it the disk keeps is the file system's affair.
        let file = json!({ "size": sizes.apparent, "sha256": digest });
        facts.insert(("files".to_owned(), (*name).to_owned()), file);
    }
    Ok(facts)
}

/// The SHA-256 of a file's content.  Holes are not read, only hashed.
fn content(path: &Path) -> Result<String> {
    const BLOCK: u64 = 1 << 20;
    let cannot = |e: std::io::Error| Error::io("cannot read", path, e);
    let mut file = files::open(path)?;
    let length = file.metadata().map_err(cannot)?.len();
    let zeros = vec![0; BLOCK as usize];
    let mut sha256 = Sha256::new();
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            // There is no more data.
            Err(rustix::io::Errno::NXIO) => length,
            // The file system knows no holes.
            Err(_) => at,
        };
        while at < data {
            let part = (data - at).min(BLOCK);
            sha256.update(&zeros[..part as usize]);
            at += part;
        }
        let part = (length - at).min(BLOCK);
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(at)).map_err(|e| cannot(e.into()))?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(part)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
        if bytes.is_empty() && part > 0 {
            return Err(cannot(std::io::ErrorKind::UnexpectedEof.into()));
        }
        sha256.update(&bytes);
        at += bytes.len() as u64;
    }
    Ok(super::hex(&sha256.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_are_hashed_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let (full, sparse) = (dir.path().join("full"), dir.path().join("sparse"));
        let mut bytes = vec![0; 5 << 20];
        bytes[3 << 20] = 7;
        files::write(&full, &bytes).unwrap();
        let file = files::create(&sparse).unwrap();
        file.set_len(5 << 20).unwrap();
        file.write_all_at(&[7], 3 << 20).unwrap();
        let expected = super::super::hex(&Sha256::digest(&bytes));
        assert_eq!(content(&full).unwrap(), expected);
        assert_eq!(content(&sparse).unwrap(), expected);
    }
}
