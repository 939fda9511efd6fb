//! Debian source packages, in the format 3.0 (quilt): the tarball as it is, and
//! `debian/` beside it.
//!
//! Sources: dsc(5), dpkg-source(1), Debian Policy, debhelper(7).

use super::Named;
use super::checksums::Checksums;
use super::contents::{self, Contents, PackagedFile, Role};
use super::deb::{self, changelog};
use super::lifecycle::Moment;
use super::source::{self, Source};
use super::text;
use crate::appliance::shared;
use crate::description::Engine;
use crate::family::Family;
use crate::{Result, templates};
use serde_json::{Value, json};

const CONTROL: &str = include_str!("../../templates/debian-control.hbs");
const RULES: &str = include_str!("../../templates/debian-rules.hbs");
const TESTS_CONTROL: &str = include_str!("../../templates/debian-tests-control.hbs");
const TESTS_BOOT: &str = include_str!("../../templates/debian-tests-boot.hbs");
const DSC: &str = include_str!("../../templates/debian.dsc.hbs");

/// What is there wherever a package is built, and is not to be asked for: what
/// build-essential depends on.  Policy 4.2.
const BUILD_ESSENTIAL: [&str; 6] = ["dpkg-dev", "g++", "gcc", "libc-dev", "libc6-dev", "make"];

/// The source package: the `.dsc` first, then the tarballs that it names.
pub fn build(source: &Source<'_>) -> Result<Vec<Named>> {
    let contents = source.contents(Family::Debian)?;
    let description = source.description;
    let data = data(&contents);
    let stem = format!("{}_{}", description.name, description.version);
    let full = format!("{stem}-{}", description.release);
    let mut files = directory(&contents, &data)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let archives = [
        (format!("{stem}.orig.tar.xz"), source.tarball.clone()),
        (
            format!("{full}.debian.tar.xz"),
            source::pack("debian", &files, contents.timestamp)?,
        ),
    ];
    let files: Vec<&Named> = archives.iter().collect();
    let mut data = data;
    data["sha1"] = Checksums::list(&files, |sums| &sums.sha1, "").into();
    data["sha256"] = Checksums::list(&files, |sums| &sums.sha256, "").into();
    data["md5"] = Checksums::list(&files, |sums| &sums.md5, "").into();
    let dsc = templates::render("debian.dsc.hbs", DSC, &data)?;
    let mut found = vec![(format!("{full}.dsc"), dsc.into_bytes())];
    found.extend(archives);
    Ok(found)
}

/// What the templates know.
fn data(contents: &Contents<'_>) -> Value {
    let description = contents.description;
    let mut needed = vec!["debhelper-compat (= 13)".to_owned()];
    needed.push(
        match description.engine {
            Engine::Freezedry => "freezedry",
            Engine::Supermin => "supermin",
        }
        .to_owned(),
    );
    let mut parts = deb::parts(contents);
    parts.retain(|part| !BUILD_ESSENTIAL.contains(&part.as_str()));
    needed.extend(parts);
    let relations = deb::relations(contents).into_iter();
    let relations = relations.map(|(field, value)| match field {
        // What debhelper finds out is added.
        "Depends" => format!("{field}: {value}, ${{misc:Depends}}\n"),
        _ => format!("{field}: {value}\n"),
    });
    json!({
        "name": description.name,
        "full_version": contents.full_version(),
        "maintainer": description.maintainer.to_string(),
        "url": description.url.clone().unwrap_or_default(),
        // In debian/control, unlike in the .dsc, these are substituted.
        "control_maintainer": escape(&description.maintainer.to_string()),
        "control_url": description.url.as_deref().map(escape).unwrap_or_default(),
        "architecture": deb::architecture(contents),
        "build_depends": needed.join(", "),
        "relations": relations.collect::<String>(),
        "summary": escape(&description.summary),
        "description": escape(text::extended(&description.description).trim_end()),
        "supermin": description.engine == Engine::Supermin,
        "parts": contents.names().join(" "),
    })
}

/// `text` where variables are substituted.
///
/// Source: deb-substvars(5).
fn escape(text: &str) -> String {
    text.replace("${", "${}{")
}

/// The files of `debian/`.
fn directory(contents: &Contents<'_>, data: &Value) -> Result<Vec<PackagedFile>> {
    let name = &contents.description.name;
    let texts = contents::render(contents.description, contents.timestamp)?;
    let render = |name, template| Ok(templates::render(name, template, data)?.into_bytes());
    let (own, mut install) = match texts.settings {
        Some(_) => {
            let settings = shared::SETTINGS;
            let line = format!("{settings} usr/share/freezedry/{name}\n");
            (format!("{settings}\n"), line)
        }
        None => (String::new(), String::new()),
    };
    install.push_str(&format!(
        "boot-{name} usr/bin\nsupermin.d usr/share/freezedry/{name}\n"
    ));
    // What the build leaves behind.
    let clean = match contents.description.engine {
        Engine::Freezedry => format!("{own}boot-{name}\nboot-{name}.1\ncopyright\nsupermin.d/\n"),
        Engine::Supermin => "supermin.d/\n".into(),
    };
    let file = |path: &str, mode, bytes| PackagedFile {
        path: path.into(),
        mode,
        bytes,
        role: Role::Plain,
    };
    let scriptlets = contents.scriptlets.iter().map(|scriptlet| {
        let text = match scriptlet.moment {
            Moment::Triggers => scriptlet.text.clone(),
            // Where debhelper may put its own.
            _ => format!("{}\n#DEBHELPER#\n", scriptlet.text),
        };
        file(scriptlet.moment.name(), 0o644, text.into_bytes())
    });
    let mut files: Vec<_> = scriptlets.collect();
    files.extend([
        file("changelog", 0o644, changelog(contents).into_bytes()),
        file("clean", 0o644, clean.into_bytes()),
        file("control", 0o644, render("debian-control.hbs", CONTROL)?),
        file("copyright", 0o644, texts.copyright),
        file("install", 0o644, install.into_bytes()),
        file("manpages", 0o644, format!("boot-{name}.1\n").into_bytes()),
        file("rules", 0o755, render("debian-rules.hbs", RULES)?),
        file("source/format", 0o644, b"3.0 (quilt)\n".to_vec()),
        file(
            "tests/boot",
            0o755,
            render("debian-tests-boot.hbs", TESTS_BOOT)?,
        ),
        file(
            "tests/control",
            0o644,
            render("debian-tests-control.hbs", TESTS_CONTROL)?,
        ),
    ]);
    Ok(files)
}
