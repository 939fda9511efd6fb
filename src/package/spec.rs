//! RPM spec files.

use super::contents::Contents;
use super::lifecycle::{Moment, Scriptlet, StatePath};
use super::rpm;
use super::source::Source;
use super::text;
use crate::description::{Dependency, Engine, Rehydrate, is_capability};
use crate::family::Family;
use crate::{Result, templates, timestamp};
use serde_json::json;

const SPEC: &str = include_str!("../../templates/appliance.spec.hbs");

/// Where the changelog stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changelog {
    /// In the spec file.
    Inside,
    /// In a `.changes` file beside it, from which OBS puts it in.
    Apart,
}

/// The spec file that builds `source`, on Fedora and on openSUSE.
pub(super) fn render(source: &Source<'_>, changelog: Changelog) -> Result<String> {
    let description = source.description;
    let fedora = source.contents(Family::Fedora)?;
    let suse = source.contents(Family::Suse)?;
    let both = |lines: fn(&Contents<'_>) -> String| by_family(&lines(&fedora), &lines(&suse));
    let changelog = match changelog {
        Changelog::Inside => entries(&fedora),
        Changelog::Apart => String::new(),
    };
    let data = json!({
        "name": description.name,
        "epoch": description.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
        "version": description.version,
        "release": description.release,
        "summary": escape(&description.summary),
        "license": description.license,
        "url": description.url.as_deref().map(escape).unwrap_or_default(),
        "architecture": fedora.architecture.unwrap_or_default(),
        "build_requires": both(build_requires),
        "relations": both(relations),
        "description": escape(&text::plain(&description.description)),
        "supermin": description.engine == Engine::Supermin,
        "prepare": both(prepare).trim_end(),
        "settings": description.rehydrate == Rehydrate::AtInstall,
        "state_install": state_install(&fedora),
        "state": state(&fedora),
        "scriptlets": scriptlets(&fedora),
        "changelog": escape(&changelog),
        "time": fedora.timestamp.to_string(),
    });
    let text = templates::render("appliance.spec.hbs", SPEC, &data)?;
    Ok(text.trim_end().to_owned() + "\n")
}

/// What has to be installed where the package is built.
pub(super) fn needed(contents: &Contents<'_>) -> Vec<Dependency> {
    let engine = match contents.description.engine {
        Engine::Freezedry => "freezedry",
        Engine::Supermin => "supermin",
    };
    let mut needed = vec![Dependency::any(engine)];
    needed.extend(contents.depends.iter().cloned());
    needed
}

fn build_requires(contents: &Contents<'_>) -> String {
    let lines = needed(contents).into_iter();
    lines.map(|of| format!("BuildRequires:  {of}\n")).collect()
}

fn relations(contents: &Contents<'_>) -> String {
    let lines = rpm::relations(contents).into_iter();
    let mut text: String = lines
        .map(|(tag, of)| format!("{:<16}{of}\n", format!("{tag}:")))
        .collect();
    for scriptlet in &contents.scriptlets {
        let tag = match scriptlet.moment {
            Moment::PreUn => "Requires(preun):",
            _ => "Requires:",
        };
        text.extend(
            scriptlet
                .needs
                .iter()
                .map(|package| format!("{tag:<16} {package}\n")),
        );
    }
    text
}

fn prepare(contents: &Contents<'_>) -> String {
    // supermin takes names of packages, not capabilities, which a check warns of.
    let mut names = contents.names();
    names.retain(|name| !is_capability(name));
    format!(
        "supermin --prepare --use-installed -o supermin.d {}\n",
        names.join(" ")
    )
}

/// Makes the paths of a shared appliance, which rpmbuild wants to see.
fn state_install(contents: &Contents<'_>) -> String {
    let line = |path: &StatePath| {
        let make = if path.directory {
            "install -d"
        } else {
            "touch"
        };
        format!("{make} %{{buildroot}}{}\n", path.path)
    };
    contents.state.iter().map(line).collect()
}

/// The same paths in the list of files.
fn state(contents: &Contents<'_>) -> String {
    let line = |path: &StatePath| {
        let ghost = if path.ghost { "%ghost %missingok " } else { "" };
        let directory = if path.directory { "%dir " } else { "" };
        format!(
            "{ghost}{directory}%attr(0{:o}, root, root) {}\n",
            path.mode, path.path
        )
    };
    contents.state.iter().map(line).collect()
}

fn scriptlets(contents: &Contents<'_>) -> String {
    let section = |scriptlet: &Scriptlet| {
        format!("{}\n{}\n", scriptlet.moment.name(), escape(&scriptlet.text))
    };
    contents.scriptlets.iter().map(section).collect()
}

/// The lines that both families of RPM have, then those that only one has.
fn by_family(fedora: &str, suse: &str) -> String {
    let only = |own: &str, other: &str| -> String {
        let rest = own
            .lines()
            .filter(|line| !other.lines().any(|same| same == *line));
        rest.map(|line| format!("{line}\n")).collect()
    };
    let mut text: String = fedora
        .lines()
        .filter(|line| suse.lines().any(|same| same == *line))
        .map(|line| format!("{line}\n"))
        .collect();
    let (fedora, suse) = (only(fedora, suse), only(suse, fedora));
    text += &match (fedora.is_empty(), suse.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!("%if ! 0%{{?suse_version}}\n{fedora}%endif\n"),
        (true, false) => format!("%if 0%{{?suse_version}}\n{suse}%endif\n"),
        (false, false) => {
            format!("%if 0%{{?suse_version}}\n{suse}%else\n{fedora}%endif\n")
        }
    };
    text
}

/// `text` where macros are expanded.
fn escape(text: &str) -> String {
    text.replace('%', "%%")
}

fn entries(contents: &Contents<'_>) -> String {
    let entries = rpm::changelog(contents).into_iter();
    let entries = entries.map(|(title, text, time)| {
        let (year, month, day) = timestamp::date(time);
        let (weekday, month) = (timestamp::weekday(time), timestamp::MONTHS[month]);
        format!("* {weekday} {month} {day:02} {year} {title}\n{text}\n")
    });
    entries.collect::<Vec<_>>().join("\n")
}
