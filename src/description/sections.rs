//! The description, section by section.

use super::decode::{self, Section, quoted, section};
use super::keys::{self, FILE};
use super::problems::{Problem, Problems, Severity};
use super::tree::{Node, Value};
use super::{
    Boot, Change, Dependency, Description, Engine, File, Init, Maintainer, Packages, Rehydrate,
    Relations, Scriptlets, Source, dependency, rules,
};
use crate::family::Family;
use crate::files;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
    let top = section(root, "the description", &keys::TOP, problems)?;
    let name = top.text("name", problems);
    let version = top.text("version", problems);
    let release = top.text("release", problems);
    let epoch = top.number("epoch", problems);
    let summary = top.text("summary", problems);
    let text = top.text("description", problems);
    let license = top.text("license", problems);
    let maintainer = top.text("maintainer", problems);
    let maintainer = maintainer.as_deref().and_then(rules::parse_maintainer);
    let url = top.text("url", problems);
    let parts = packages(&top, "packages", problems);
    let relations = Relations {
        recommends: packages(&top, "recommends", problems),
        suggests: packages(&top, "suggests", problems),
        provides: packages(&top, "provides", problems),
        conflicts: packages(&top, "conflicts", problems),
        obsoletes: packages(&top, "obsoletes", problems),
    };
    let files = files(&top, folder, problems);
    let host_files = top.texts("host_files", problems);
    let exclude = top.texts("exclude", problems);
    let boot = boot(&top, problems);
    let rehydrate = match top.word("rehydrate", problems) {
        Some("at-install") => Rehydrate::AtInstall,
        _ => Rehydrate::AtBoot,
    };
    let engine = match top.word("engine", problems) {
        Some("supermin") => Engine::Supermin,
        _ => Engine::Freezedry,
    };
    let scriptlets = match top.word("scriptlets", problems) {
        Some("run") => Scriptlets::Run,
        _ => Scriptlets::Generated,
    };
    if engine == Engine::Supermin {
        supermin_alone(&top, &boot, &parts, problems);
    }
    let changelog = changelog(&top, maintainer.as_ref(), problems);

    let (name, summary) = (name?, summary?);
    Some(Description {
        version: version?,
        release: release.unwrap_or_else(|| "1".into()),
        epoch,
        description: text
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| no_description(&name)),
        name,
        summary,
        license: license?,
        maintainer: maintainer?,
        url,
        packages: parts,
        relations,
        files,
        host_files,
        exclude,
        boot,
        rehydrate,
        engine,
        scriptlets,
        changelog,
        warnings: Problems::new("", ""),
    })
}

/// What package managers say where the author says nothing: more than the summary
/// again, which is no description to Debian.
fn no_description(name: &str) -> String {
    format!(
        "The command boot-{name} boots this virtual machine. It is made, where it is used, \
         of the packages that this package depends on, and runs apart from the system."
    )
}

/// What stock supermin cannot do, in a description that wants nothing but that.
fn supermin_alone(top: &Section<'_>, boot: &Boot, parts: &Packages, problems: &mut Problems) {
    let span = |key| top.get(key).map(|node| node.span.clone());
    let engine = span("engine").unwrap_or_default();
    for (needs, key, what) in [
        (!boot.persistent.is_empty(), "storage", "keeps no data"),
        (boot.graphical, "console", "shows no screen"),
    ] {
        if needs {
            problems.add(Problem::error(
                &engine,
                format!("`engine`: supermin alone {what}, which `boot.{key}` asks for"),
                format!("write `engine: freezedry`, or remove `boot.{key}`"),
            ));
        }
    }
    let families = parts.families.values().flatten();
    let mut capabilities: Vec<&str> = families
        .flat_map(Dependency::names)
        .filter(|name| rules::is_capability(name))
        .collect();
    capabilities.sort_unstable();
    capabilities.dedup();
    if !capabilities.is_empty() {
        problems.add(Problem {
            severity: Severity::Warning,
            ..Problem::error(
                &span("packages").unwrap_or_default(),
                format!(
                    "`packages`: supermin takes names alone, and leaves out {}",
                    quoted(&capabilities)
                ),
                "name the packages that provide it, or write `engine: freezedry`",
            )
        });
    }
}

/// Dependencies: a list for everywhere, or lists by family.
fn packages(top: &Section<'_>, key: &'static str, problems: &mut Problems) -> Packages {
    let mut packages = Packages::default();
    let Some(node) = top.get(key) else {
        return packages;
    };
    let read = |node: &Node, name: &str, family, problems: &mut Problems| {
        let place = dependency::Place { key, family };
        let rule = |text: &str| dependency::parse(text, place).map(drop);
        let texts = decode::texts(node, name, rule, problems);
        let parsed = texts.iter().map(|text| dependency::parse(text, place));
        parsed.filter_map(Result::ok).collect::<Vec<_>>()
    };
    if !matches!(node.value, Value::Map(_)) {
        packages.all = read(node, &format!("`{key}`"), None, problems);
        return packages;
    }
    let Some(section) = top.section(key, key, problems) else {
        return packages;
    };
    if let Some(node) = section.get("all") {
        packages.all = read(node, &format!("`{key}.all`"), None, problems);
    }
    for family in Family::ALL {
        let Some(node) = section.get(family.name()) else {
            continue;
        };
        let own = read(node, &format!("`{key}.{family}`"), Some(family), problems);
        if !own.is_empty() {
            packages.families.insert(family, own);
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
    let section = section(item, "files", &FILE, problems)?;
    let path = section.text("path", problems).map(PathBuf::from);
    let sources = FILE.one_of.iter().copied();
    let given: Vec<&str> = sources.filter(|key| section.get(key).is_some()).collect();
    let [given] = given[..] else {
        let title = match given.len() {
            0 => "`files`: nothing says what is in the file".to_owned(),
            _ => format!("`files`: {} exclude each other", quoted(&given)),
        };
        let help = format!("give one of {}", quoted(FILE.one_of));
        problems.add(Problem::error(&item.span, title, help));
        return None;
    };
    let source = match given {
        "content" => Source::Text(section.text("content", problems)?),
        "symlink" => Source::Symlink(section.text("symlink", problems)?.into()),
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
    if is_private_key(&source) {
        problems.add(Problem {
            severity: Severity::Warning,
            ..Problem::error(
                &item.span,
                "`files`: this is a private key, and everybody can read what is in a package",
                "leave it out, and make one in the guest; `ssh-keygen -A` makes those of an sshd",
            )
        });
    }
    Some(File {
        path: path?,
        mode: mode(&section, problems).unwrap_or(default),
        source,
    })
}

/// Whether it is a private key in PEM (RFC 7468) or OpenSSH's form.
fn is_private_key(source: &Source) -> bool {
    let bytes = match source {
        Source::Text(text) => text.as_bytes().to_vec(),
        Source::File(path) => files::read(path).unwrap_or_default(), // told elsewhere
        Source::Symlink(_) | Source::Directory => return false,
    };
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
    let first = start.trim_start().lines().next().unwrap_or_default();
    first.starts_with("-----BEGIN ") && first.contains("PRIVATE KEY")
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
    let mode = section.text("mode", problems)?;
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
        root_without_password: true,
        autologin: false,
        authorized_keys: Vec::new(),
        modules: Vec::new(),
        all_modules: false,
        persistent: Vec::new(),
        graphical: false,
    };
    let Some(section) = top.section("boot", "boot", problems) else {
        return boot;
    };
    if let Some(init) = section.text("init", problems) {
        boot.init = match init.as_str() {
            "shell" => Init::Shell,
            "systemd" => Init::Systemd,
            _ => Init::Command(init),
        };
    }
    let memory = section.text("memory", problems);
    if let Some(memory) = memory.as_deref().and_then(rules::parse_size) {
        boot.memory = memory;
    }
    if let Some(cpus) = section.number("cpus", problems) {
        boot.cpus = cpus;
    }
    login(&section, &mut boot, problems);
    boot.authorized_keys = section.texts("authorized_keys", problems);
    boot.graphical = section.word("console", problems) == Some("graphical");
    boot.persistent = storage(&section, problems);
    network(&section, &mut boot, problems);
    match section.get("modules") {
        Some(Node {
            value: Value::Text(text),
            ..
        }) if text == "all" => boot.all_modules = true,
        _ => boot.modules = section.texts("modules", problems),
    }
    boot
}

/// Who can log in, which is a question only where there is a login.
fn login(section: &Section<'_>, boot: &mut Boot, problems: &mut Problems) {
    let password = section.word("root_password", problems);
    boot.root_without_password = password != Some("locked");
    boot.autologin = section.truth("autologin", problems).unwrap_or(false);
    for key in ["root_password", "autologin"] {
        if let Some(node) = section.get(key).filter(|_| boot.init != Init::Systemd) {
            problems.add(Problem {
                severity: Severity::Warning,
                ..Problem::error(
                    &node.span,
                    format!("`boot.{key}`: without `init: systemd` nobody logs in"),
                    "remove it",
                )
            });
        }
    }
}

/// `throwaway`, `persistent`, or a mapping with the directories that persist.
fn storage(boot_section: &Section<'_>, problems: &mut Problems) -> Vec<String> {
    let Some(node) = boot_section.get("storage") else {
        return Vec::new();
    };
    if matches!(node.value, Value::Map(_)) {
        return match boot_section.section("storage", "boot.storage", problems) {
            Some(section) => section.texts("persistent", problems),
            None => Vec::new(),
        };
    }
    match boot_section.word("storage", problems) {
        Some("persistent") => PERSISTENT.map(str::to_owned).to_vec(),
        _ => Vec::new(),
    }
}

/// `none`, `user`, or a mapping with ports.
fn network(boot_section: &Section<'_>, boot: &mut Boot, problems: &mut Problems) {
    let Some(node) = boot_section.get("network") else {
        return;
    };
    if !matches!(node.value, Value::Map(_)) {
        boot.network = boot_section.word("network", problems) == Some("user");
        return;
    }
    let Some(section) = boot_section.section("network", "boot.network", problems) else {
        return;
    };
    boot.network = section.word("mode", problems).unwrap_or("user") == "user";
    let ports = section.texts("ports", problems);
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
        let Some(section) = section(item, "changelog", &keys::CHANGE, problems) else {
            continue;
        };
        let version = section.text("version", problems);
        let date = section.text("date", problems);
        let date = date.as_deref().and_then(rules::parse_date);
        let author = section.text("author", problems);
        let author = author
            .as_deref()
            .and_then(rules::parse_maintainer)
            .or(maintainer.cloned());
        let changes = section.texts("changes", problems);
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
