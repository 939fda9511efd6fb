//! RPM binary packages.
//!
//! Only this file, `source_rpm.rs`, `read/rpm.rs` and `sign/rpm.rs` know the RPM
//! library.

use super::contents::{Contents, Role};
use super::lifecycle::{EVERYWHERE, Moment, Scriptlet, StatePath};
use super::text;
use crate::description::{self, Comparison, Description, Packages};
use crate::{Error, Result, error::Kind};
use rpm::{
    BuildConfig, CompressionWithLevel, Dependency, DependencyFlags, FileOptions, Header,
    HeaderEntry, IndexData, IndexTag, PackageBuilder,
};
use std::collections::BTreeSet;

/// The package's file name.
pub fn file_name(contents: &Contents<'_>) -> String {
    let Description {
        name,
        version,
        release,
        ..
    } = contents.description;
    let architecture = contents.architecture.unwrap_or("noarch");
    format!("{name}-{version}-{release}.{architecture}.rpm")
}

/// The bytes of the package.
pub fn build(contents: &Contents<'_>) -> Result<Vec<u8>> {
    let failed =
        |e: rpm::Error| Error::new(Kind::System, "cannot write the RPM package").caused_by(e);
    let Description {
        name,
        version,
        release,
        ..
    } = contents.description;
    let config = BuildConfig::v4()
        .source_date(contents.timestamp)
        // The smallest for a few kilobytes.
        .compression(CompressionWithLevel::Xz(super::deb::LEVEL))
        // Room for a signature is as large as all the rest.
        .reserved_space(None);
    let mut builder = PackageBuilder::new(
        name,
        version,
        &contents.description.license,
        contents.architecture.unwrap_or("noarch"),
        &contents.description.summary,
    );
    builder
        .using_config(config)
        .release(release)
        .description(text::plain(&contents.description.description))
        .group("Unspecified")
        .packager(contents.description.maintainer.to_string())
        // The name of the machine that builds is nobody's business.
        .build_host("localhost");
    if let Some(epoch) = contents.description.epoch {
        builder.epoch(epoch);
    }
    if let Some(url) = &contents.description.url {
        builder.url(url);
    }
    let mut versions = vec![version.clone(), release.clone()];
    for (tag, of) in relations(contents) {
        versions.push(of.to_string());
        let of = dependency(&of);
        match tag {
            "Requires" => builder.requires(of),
            "Recommends" => builder.recommends(of),
            "Suggests" => builder.suggests(of),
            "Provides" => builder.provides(of),
            "Conflicts" => builder.conflicts(of),
            _ => builder.obsoletes(of),
        };
    }
    // What rpmbuild finds in boot-NAME, the only script.
    builder.requires(Dependency {
        flags: DependencyFlags::FIND_REQUIRES,
        ..Dependency::any("/bin/sh")
    });
    let triggers = [Moment::FileTriggerIn, Moment::FileTriggerPostUn];
    if contents
        .scriptlets
        .iter()
        .any(|own| triggers.contains(&own.moment))
    {
        // The library adds this for the other scripts only.
        builder.requires(Dependency {
            flags: DependencyFlags::INTERP,
            ..Dependency::any("/bin/sh")
        });
    }
    // The library forgets that not every rpm can unpack xz.
    builder.requires(Dependency::rpmlib("PayloadIsXz", "5.2-1"));
    for (feature, since) in features(&versions) {
        builder.requires(Dependency::rpmlib(feature, since));
    }
    for directory in directories(contents) {
        let options = FileOptions::dir(directory).permissions(0o755);
        builder.with_dir_entry(options).map_err(failed)?;
    }
    for file in &contents.files {
        let mut options = FileOptions::new(&file.path).permissions(file.mode);
        options = match file.role {
            Role::Plain => options,
            Role::Documentation => options.doc(),
            Role::License => options.license(),
        };
        builder
            .with_file_contents(file.bytes.clone(), options)
            .map_err(failed)?;
    }
    for path in &contents.state {
        add_state(&mut builder, path).map_err(failed)?;
    }
    for scriptlet in &contents.scriptlets {
        add_scriptlet(&mut builder, scriptlet);
    }
    for (title, text, time) in changelog(contents) {
        builder.add_changelog_entry(title, text, time);
    }
    let mut package = builder.build().map_err(failed)?;
    name_source(&mut package, &format!("{name}-{version}-{release}.src.rpm")).map_err(failed)?;
    let mut bytes = Vec::new();
    package.write(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// What rpm has to know to compare these versions, or those in dependencies as a
/// spec file writes them, and since when it does.
pub(super) fn features(versions: &[String]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let features = [
        ('~', "TildeInVersions", "4.10.0-1"),
        ('^', "CaretInVersions", "4.15.0-1"),
    ];
    let wanted = features.map(|(sign, feature, since)| {
        let has = versions.iter().any(|version| version.contains(sign));
        has.then_some((feature, since))
    });
    wanted.into_iter().flatten()
}

fn add_state(
    builder: &mut PackageBuilder,
    state: &StatePath,
) -> std::result::Result<(), rpm::Error> {
    let StatePath { path, mode, .. } = state;
    if !state.ghost {
        builder.with_dir_entry(FileOptions::dir(path).permissions(*mode))?;
        return Ok(());
    }
    let options = if state.directory {
        FileOptions::ghost_dir(path)
    } else {
        FileOptions::ghost(path)
    };
    builder.with_ghost(options.permissions(*mode).missingok())?;
    Ok(())
}

fn add_scriptlet(builder: &mut PackageBuilder, scriptlet: &Scriptlet) {
    // As rpmbuild takes it from a spec file.
    let script = rpm::Scriptlet::new(scriptlet.text.trim_end()).prog(vec!["/bin/sh"]);
    match scriptlet.moment {
        Moment::PreUn => builder.pre_uninstall_script(script),
        Moment::PostTrans => builder.post_trans_script(script),
        Moment::FileTriggerIn => builder.trans_file_trigger_in(EVERYWHERE, None, script),
        Moment::FileTriggerPostUn => builder.trans_file_trigger_postun(EVERYWHERE, None, script),
        // dpkg's.
        Moment::Postinst | Moment::Postrm | Moment::Triggers => return,
    };
    for package in scriptlet.needs {
        builder.requires(match scriptlet.moment {
            Moment::PreUn => Dependency::script_preun(*package),
            _ => Dependency::any(*package),
        });
    }
}

/// The changelog: title, text and time of each entry.
pub(super) fn changelog(contents: &Contents<'_>) -> Vec<(String, String, u32)> {
    let entries = contents.changelog().into_iter().map(|entry| {
        let lines: Vec<String> = entry
            .changes
            .iter()
            .map(|line| format!("- {line}"))
            .collect();
        // A spec file has the day alone, which stands for its noon.
        let noon = entry.time / 86400 * 86400 + 43200;
        let title = format!("{} - {}", entry.author, entry.version);
        (title, lines.join("\n"), noon)
    });
    entries.collect()
}

/// What the package says of others, each with the tag of a spec file.
pub(super) fn relations(contents: &Contents<'_>) -> Vec<(&'static str, description::Dependency)> {
    let rich = |text: &str| description::Dependency::Rich(text.to_owned());
    let tools = [
        if contents.description.boot.needs_freezedry() {
            description::Dependency::any("freezedry")
        } else {
            rich("(freezedry or supermin)")
        },
        // Names of Fedora, openSUSE and RHEL.
        rich("(qemu-system-x86-core or qemu-x86 or qemu-kvm or qemu-system-x86 or qemu)"),
    ];
    let requires = contents.depends.iter().cloned().chain(tools);
    let mut found: Vec<_> = requires.map(|of| ("Requires", of)).collect();
    let ours = &contents.description.relations;
    let mut add = |tag, packages: &Packages| {
        let own = packages.dependencies(contents.family);
        found.extend(own.map(|of| (tag, of.clone())));
    };
    add("Recommends", &ours.recommends);
    add("Suggests", &ours.suggests);
    add("Provides", &ours.provides);
    add("Conflicts", &ours.conflicts);
    add("Obsoletes", &ours.obsoletes);
    found
}

fn dependency(of: &description::Dependency) -> Dependency {
    use description::Dependency as Of;
    match of {
        Of::Rich(text) => Dependency::any(text),
        Of::Package { name, bound: None } => Dependency::any(name),
        Of::Package {
            name,
            bound: Some((comparison, version)),
        } => match comparison {
            Comparison::Less => Dependency::less(name, version),
            Comparison::LessOrEqual => Dependency::less_eq(name, version),
            Comparison::Equal => Dependency::eq(name, version),
            Comparison::GreaterOrEqual => Dependency::greater_eq(name, version),
            Comparison::Greater => Dependency::greater(name, version),
        },
    }
}

/// The directories that are ours alone, outermost first.
fn directories(contents: &Contents<'_>) -> BTreeSet<String> {
    let name = &contents.description.name;
    let ours = [
        format!("/usr/share/freezedry/{name}/"),
        format!("/usr/share/licenses/{name}/"),
    ];
    let mut found = BTreeSet::from(["/usr/share/freezedry".to_owned()]);
    for file in &contents.files {
        for (at, _) in file.path.match_indices('/') {
            if ours
                .iter()
                .any(|own| file.path[..=at].starts_with(own.as_str()))
            {
                found.insert(file.path[..at].to_owned());
            }
        }
    }
    found
}

/// The library writes `(none)` as the source package, which tools take for a
/// mistake; so the header is made anew with a name, and its digests with it.
fn name_source(package: &mut rpm::Package, source: &str) -> std::result::Result<(), rpm::Error> {
    let metadata = &mut package.metadata;
    let immutable = IndexTag::RPMTAG_HEADERIMMUTABLE;
    let entries = metadata.header.get_all_entries()?.into_iter();
    let entries = entries
        .filter(|(tag, _)| *tag != immutable as u32)
        .map(|(tag, data)| {
            let data = if tag == IndexTag::RPMTAG_SOURCERPM as u32 {
                IndexData::StringTag(source.to_owned())
            } else {
                data
            };
            HeaderEntry::new(tag, data)
        });
    metadata.header = Header::from_entries(entries, immutable);
    digest(metadata, package.payload.len())
}

/// Makes the signature header, without a signature, for a header and a payload
/// of `payload` bytes.
pub(super) fn digest(
    metadata: &mut rpm::PackageMetadata,
    payload: usize,
) -> std::result::Result<(), rpm::Error> {
    let bytes = metadata.header_bytes()?;
    metadata.signature = rpm::SignatureHeaderBuilder::new()
        .format(rpm::RpmFormat::V4)
        .reserved_space(None)
        .set_content_length((bytes.len() + payload) as u64)
        .calculate_digests(&bytes)
        .build()?;
    Ok(())
}
