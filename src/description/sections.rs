//! The description, section by section.

use super::decode::{self, Section, quoted, section, texts, word};
use super::problems::{Problem, Problems, Severity};
use super::tree::{Node, Value};
use super::{
    Boot, Change, Description, File, Init, Maintainer, Packages, Rehydrate, Source, rules,
};
use crate::family::Family;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const KEYS: [&str; 16] = [
    "name",
    "version",
    "release",
    "epoch",
    "summary",
    "description",
    "license",
    "maintainer",
    "url",
    "packages",
    "files",
    "host_files",
    "exclude",
    "boot",
    "rehydrate",
    "changelog",
];
const BOOT_KEYS: [&str; 7] = [
    "init", "memory", "cpus", "network", "console", "storage", "modules",
];

/// What persists where nobody says more: people's own files.  State of packages
/// (`/var/lib`) belongs to their versions, and is named one by one.
pub const PERSISTENT: [&str; 3] = ["/home", "/root", "/srv"];

const DEFAULT_MEMORY: u64 = 512 << 20;

/// The description that `root` holds; `None` if something that is needed is
/// missing or wrong.
pub(super) fn description(
    root: &Node,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Description> {
    let top = section(root, "the description", &KEYS, problems)?;
    for (key, example) in [
        ("name", "hello"),
        ("version", "\"1.0\""),
        ("summary", "A virtual machine that says hello"),
        ("license", "MIT"),
        ("maintainer", "Jane Doe <jane@example.org>"),
        ("packages", "[bash, coreutils]"),
    ] {
        top.require(key, example, problems);
    }
    let name = top.text("name", rules::name, problems);
    let version = top.text("version", rules::version, problems);
    let release = top.text("release", rules::release, problems);
    let epoch = top.number("epoch", 0..=u32::MAX, problems);
    let summary = top.text("summary", rules::summary, problems);
    let text = top.text("description", rules::anything, problems);
    let license = top.text("license", rules::license, problems);
    let maintainer = top.text("maintainer", rules::maintainer, problems);
    let maintainer = maintainer.as_deref().and_then(rules::parse_maintainer);
    let url = top.text("url", rules::url, problems);
    let packages = packages(&top, problems);
    let files = files(&top, folder, problems);
    let host_files = top.texts("host_files", rules::host_file, problems);
    let exclude = top.texts("exclude", rules::pattern, problems);
    let boot = boot(&top, problems);
    if top.word("rehydrate", &["at-boot", "at-install"], problems) == Some("at-install") {
        not_yet(&top, "rehydrate", "at-install", "at-boot", problems);
    }
    let changelog = changelog(&top, maintainer.as_ref(), problems);

    let summary = summary?;
    Some(Description {
        name: name?,
        version: version?,
        release: release.unwrap_or_else(|| "1".into()),
        epoch,
        description: text.map_or_else(|| summary.clone(), |text| text.trim().to_owned()),
        summary,
        license: license?,
        maintainer: maintainer?,
        url,
        packages,
        files,
        host_files,
        exclude,
        boot,
        rehydrate: Rehydrate::AtBoot,
        changelog,
        warnings: Problems::new("", ""),
    })
}

/// A value that the format has and this version cannot do.
fn not_yet(section: &Section<'_>, key: &str, value: &str, instead: &str, problems: &mut Problems) {
    if let Some(node) = section.get(key) {
        problems.add(Problem::error(
            &node.span,
            format!("`{key}: {value}` is not supported by this version of Freezedry"),
            format!("write `{key}: {instead}`, or leave it out"),
        ));
    }
}

/// A list for everywhere, or lists by family.
fn packages(top: &Section<'_>, problems: &mut Problems) -> Packages {
    let mut packages = Packages::default();
    let Some(node) = top.get("packages") else {
        return packages;
    };
    if !matches!(node.value, Value::Map(_)) {
        packages.all = texts(node, "`packages`", rules::package, problems);
        return packages;
    }
    let mut keys = vec!["all"];
    keys.extend(Family::ALL.map(Family::name));
    let Some(section) = section(node, "packages", &keys, problems) else {
        return packages;
    };
    packages.all = section.texts("all", rules::package, problems);
    for family in Family::ALL {
        let names = section.texts(family.name(), rules::package, problems);
        if !names.is_empty() {
            packages.families.insert(family, names);
        }
    }
    packages
}

fn files(top: &Section<'_>, folder: &Path, problems: &mut Problems) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    for item in top.items("files", problems) {
        let Some(file) = file(item, folder, problems) else {
            continue;
        };
        if files.iter().any(|other| other.path == file.path) {
            problems.add(Problem::error(
                &item.span,
                format!("`files`: `{}` is there twice", file.path.display()),
                "remove one of the two",
            ));
        }
        files.push(file);
    }
    files
}

fn file(item: &Node, folder: &Path, problems: &mut Problems) -> Option<File> {
    const SOURCES: [&str; 4] = ["content", "source", "symlink", "directory"];
    let keys = ["path", "mode", "content", "source", "symlink", "directory"];
    let section = section(item, "files", &keys, problems)?;
    section.require("path", "/usr/local/bin/hello", problems);
    let path = section
        .text("path", rules::path, problems)
        .map(PathBuf::from);
    let given: Vec<&str> = SOURCES
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .collect();
    let [given] = given[..] else {
        let title = match given.len() {
            0 => "`files`: nothing says what is in the file".to_owned(),
            _ => format!("`files`: {} exclude each other", quoted(&given)),
        };
        let help = format!("give one of {}", quoted(&SOURCES));
        problems.add(Problem::error(&item.span, title, help));
        return None;
    };
    let source = match given {
        "content" => Source::Text(section.text("content", rules::anything, problems)?),
        "symlink" => Source::Symlink(section.text("symlink", rules::one_line, problems)?.into()),
        "directory" => match section.get("directory").map(|node| &node.value) {
            Some(Value::Bool(true)) => Source::Directory,
            _ => {
                let title = "`files.directory`: expected `true`";
                problems.add(Problem::error(&item.span, title, "write `directory: true`"));
                return None;
            }
        },
        _ => Source::File(source(&section, folder, problems)?),
    };
    let default = match &source {
        Source::Directory => 0o755,
        Source::Symlink(_) => 0o777,
        Source::Text(_) => 0o644,
        Source::File(file) => {
            let executable =
                std::fs::metadata(file).is_ok_and(|meta| meta.permissions().mode() & 0o100 != 0);
            if executable { 0o755 } else { 0o644 }
        }
    };
    Some(File {
        path: path?,
        mode: mode(&section, problems).unwrap_or(default),
        source,
    })
}

/// The mode in quotes; without them YAML reads a decimal number, and some
/// readers an octal one.
fn mode(section: &Section<'_>, problems: &mut Problems) -> Option<u16> {
    if let Some(node) = section.get("mode")
        && let Value::Number(number) = &node.value
    {
        problems.add(Problem::error(
            &node.span,
            format!("`files.mode`: {number} is a number, and which one depends on the reader"),
            format!(
                "write it in quotes: \"{:0>4}\"",
                number.trim_start_matches("0o")
            ),
        ));
        return None;
    }
    let mode = section.text("mode", rules::mode, problems)?;
    rules::parse_mode(&mode)
}

/// A regular file inside `folder`.
fn source(section: &Section<'_>, folder: &Path, problems: &mut Problems) -> Option<PathBuf> {
    let node = section.get("source")?;
    let text = decode::text(node, "`files.source`", problems)?;
    let mut fault = |title: String, help: &str| {
        problems.add(Problem::error(
            &node.span,
            format!("`files.source`: {title}"),
            help,
        ));
    };
    let path = folder.join(&text);
    // Symlinks count: the package may be built elsewhere, from this folder alone.
    let (Ok(real), Ok(inside)) = (path.canonicalize(), folder.canonicalize()) else {
        fault(
            format!("`{text}` does not exist"),
            "write its path relative to the description",
        );
        return None;
    };
    if Path::new(&text).is_absolute() || !real.starts_with(inside) {
        fault(
            format!("`{text}` lies outside the description's folder"),
            "copy it beside the description",
        );
        return None;
    }
    if !real.is_file() {
        fault(
            format!("`{text}` is no regular file"),
            "name a file; directories are made with `directory: true`",
        );
        return None;
    }
    Some(path)
}

fn boot(top: &Section<'_>, problems: &mut Problems) -> Boot {
    let mut boot = Boot {
        init: Init::Shell,
        memory: DEFAULT_MEMORY,
        cpus: 1,
        network: false,
        ports: Vec::new(),
        modules: Vec::new(),
        all_modules: false,
        persistent: Vec::new(),
        graphical: false,
    };
    let Some(node) = top.get("boot") else {
        return boot;
    };
    let Some(section) = section(node, "boot", &BOOT_KEYS, problems) else {
        return boot;
    };
    if let Some(init) = section.text("init", rules::one_line, problems) {
        boot.init = match init.as_str() {
            "shell" => Init::Shell,
            "systemd" => Init::Systemd,
            _ => Init::Command(init),
        };
    }
    let memory = section.text("memory", rules::memory, problems);
    if let Some(memory) = memory.as_deref().and_then(rules::parse_size) {
        boot.memory = memory;
    }
    if let Some(cpus) = section.number("cpus", 1..=255, problems) {
        boot.cpus = cpus;
    }
    boot.graphical =
        section.word("console", &["serial", "graphical"], problems) == Some("graphical");
    boot.persistent = storage(&section, problems);
    network(&section, &mut boot, problems);
    match section.get("modules") {
        Some(Node {
            value: Value::Text(text),
            ..
        }) if text == "all" => boot.all_modules = true,
        Some(node) => boot.modules = texts(node, "`boot.modules`", rules::module, problems),
        None => {}
    }
    boot
}

/// `throwaway`, `persistent`, or a mapping with the directories that persist.
fn storage(boot_section: &Section<'_>, problems: &mut Problems) -> Vec<String> {
    let Some(node) = boot_section.get("storage") else {
        return Vec::new();
    };
    if matches!(node.value, Value::Map(_)) {
        return match section(node, "boot.storage", &["persistent"], problems) {
            Some(section) => section.texts("persistent", rules::kept, problems),
            None => Vec::new(),
        };
    }
    let modes = ["throwaway", "persistent"];
    match word(node, "`boot.storage`", &modes, problems) {
        Some("persistent") => PERSISTENT.map(str::to_owned).to_vec(),
        _ => Vec::new(),
    }
}

/// `none`, `user`, or a mapping with ports.
fn network(boot_section: &Section<'_>, boot: &mut Boot, problems: &mut Problems) {
    const MODES: [&str; 2] = ["none", "user"];
    let Some(node) = boot_section.get("network") else {
        return;
    };
    if !matches!(node.value, Value::Map(_)) {
        boot.network = word(node, "`boot.network`", &MODES, problems) == Some("user");
        return;
    }
    let Some(section) = section(node, "boot.network", &["mode", "ports"], problems) else {
        return;
    };
    boot.network = section.word("mode", &MODES, problems).unwrap_or("user") == "user";
    let ports = section.texts("ports", rules::port, problems);
    boot.ports = ports
        .iter()
        .filter_map(|port| rules::parse_port(port))
        .collect();
    if !boot.network && !boot.ports.is_empty() {
        problems.add(Problem::error(
            &node.span,
            "`boot.network`: there are ports, but no network",
            "write `mode: user`, or remove the ports",
        ));
    }
}

fn changelog(
    top: &Section<'_>,
    maintainer: Option<&Maintainer>,
    problems: &mut Problems,
) -> Vec<Change> {
    let mut changelog: Vec<Change> = Vec::new();
    for item in top.items("changelog", problems) {
        let keys = ["version", "date", "author", "changes"];
        let Some(section) = section(item, "changelog", &keys, problems) else {
            continue;
        };
        for (key, example) in [
            ("version", "1.0-1"),
            ("date", "2026-01-31"),
            ("changes", "[First release]"),
        ] {
            section.require(key, example, problems);
        }
        let version = section.text("version", changelog_version, problems);
        let date = section.text("date", rules::date, problems);
        let date = date.as_deref().and_then(rules::parse_date);
        let author = section.text("author", rules::maintainer, problems);
        let author = author
            .as_deref()
            .and_then(rules::parse_maintainer)
            .or(maintainer.cloned());
        let changes = section.texts("changes", rules::one_line, problems);
        let (Some(version), Some(date), Some(author)) = (version, date, author) else {
            continue;
        };
        if changelog.last().is_some_and(|newer| newer.date < date) {
            problems.add(Problem {
                severity: Severity::Error,
                ..Problem::error(
                    &item.span,
                    "`changelog`: this entry is newer than the one before it",
                    "put the newest first",
                )
            });
        }
        changelog.push(Change {
            version,
            date,
            author,
            changes,
        });
    }
    changelog
}

/// `VERSION` or `VERSION-RELEASE`.
fn changelog_version(text: &str) -> Result<(), decode::Fault> {
    let (version, release) = text.split_once('-').unwrap_or((text, "1"));
    rules::version(version)?;
    rules::release(release)
}
