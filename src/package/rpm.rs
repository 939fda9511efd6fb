//! RPM binary packages.
//!
//! Only this file, `read/rpm.rs` and `sign/rpm.rs` know the RPM library.

use super::contents::{Contents, Role};
use super::lifecycle::{EVERYWHERE, Moment, Scriptlet, StatePath};
use crate::description::Description;
use crate::{Error, Result, error::Kind};
use rpm::{
    BuildConfig, CompressionWithLevel, Dependency, FileOptions, Header, HeaderEntry, IndexData,
    IndexTag, PackageBuilder,
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
        .compression(CompressionWithLevel::Xz(9))
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
        .description(&contents.description.description)
        .group("Unspecified")
        .packager(format!(
            "{} <{}>",
            contents.description.maintainer.name, contents.description.maintainer.email
        ))
        // The name of the machine that builds is nobody's business.
        .build_host("localhost");
    if let Some(epoch) = contents.description.epoch {
        builder.epoch(epoch);
    }
    if let Some(url) = &contents.description.url {
        builder.url(url);
    }
    for package in &contents.depends {
        builder.requires(Dependency::any(package));
    }
    builder.requires(Dependency::any("(freezedry or supermin)"));
    // Names of Fedora, openSUSE and RHEL.
    builder.requires(Dependency::any(
        "(qemu-system-x86-core or qemu-x86 or qemu-kvm or qemu-system-x86 or qemu)",
    ));
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
    for change in &contents.description.changelog {
        let version = if change.version.contains('-') {
            change.version.clone()
        } else {
            format!("{}-{release}", change.version)
        };
        let title = format!(
            "{} <{}> - {version}",
            change.author.name, change.author.email
        );
        let lines: Vec<String> = change
            .changes
            .iter()
            .map(|line| format!("- {line}"))
            .collect();
        builder.add_changelog_entry(title, lines.join("\n"), change.date.timestamp());
    }
    let mut package = builder.build().map_err(failed)?;
    name_source(&mut package, &format!("{name}-{version}-{release}.src.rpm")).map_err(failed)?;
    let mut bytes = Vec::new();
    package.write(&mut bytes).map_err(failed)?;
    Ok(bytes)
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
    let text = scriptlet.text.as_str();
    match scriptlet.moment {
        Moment::PreUn => builder.pre_uninstall_script(text),
        Moment::PostTrans => builder.post_trans_script(text),
        Moment::FileTriggerIn => builder.trans_file_trigger_in(EVERYWHERE, None, text),
        Moment::FileTriggerPostUn => builder.trans_file_trigger_postun(EVERYWHERE, None, text),
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
    let bytes = metadata.header_bytes()?;
    metadata.signature = rpm::SignatureHeaderBuilder::new()
        .format(rpm::RpmFormat::V4)
        .reserved_space(None)
        .set_content_length((bytes.len() + package.payload.len()) as u64)
        .calculate_digests(&bytes)
        .build()?;
    Ok(())
}
