//! From a program to all that it needs to start: interpreters, libraries, and
//! for a shell script the commands that it calls.

use super::cure::Cures;
use super::elf::Elf;
use super::inside::{Inside, Lookup, is_file};
use super::loader::{Found, Loader, own_directories};
use super::{Finding, Kind, Place, Severity, Subject, Wanted, script};
use crate::Result;
use crate::appliance::plan::{Entry, Origin};
use crate::description::{self, Init};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

/// Bytes of a script that are looked through for commands.
const SCRIPT: usize = 256 << 10;

/// Why a program is looked at.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) severity: Severity,
    pub(super) place: Place,
}

/// Something that is not there, and all who want it.
struct Gap {
    cause: Cause,
    /// Those nearest to what is run come first.
    wanted_by: Vec<Wanted>,
    /// Where it is nevertheless, out of the loader's sight.
    aside: Option<PathBuf>,
}

/// What has been looked at, and what was not there.
pub(super) struct Walk<'a> {
    inside: &'a Inside<'a>,
    loader: &'a Loader<'a>,
    done: HashSet<&'a Path>,
    gaps: BTreeMap<(Kind, String), Gap>,
    /// Shell scripts whose commands are still to be looked at.
    scripts: Vec<(&'a Entry, Cause)>,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(inside: &'a Inside<'a>, loader: &'a Loader<'a>) -> Self {
        Self {
            inside,
            loader,
            done: HashSet::new(),
            gaps: BTreeMap::new(),
            scripts: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Looks at `entry` and at what it needs to start.
    pub(super) fn program(&mut self, entry: &'a Entry, cause: &Cause) {
        if !is_file(entry) || !self.done.insert(&entry.path) {
            return;
        }
        let head = self.inside.read(entry, 0, 256).unwrap_or_default();
        if let Some(shebang) = script::shebang(&head) {
            if shebang.carriage_return {
                self.findings
                    .push(carriage_return(entry, cause, &shebang.interpreter));
                return;
            }
            self.interpreter(&shebang.interpreter, entry, cause);
            if let Some(command) = &shebang.command {
                match self.inside.command(command) {
                    Some(program) => self.program(program, cause),
                    None => self.gap(Kind::Interpreter, command, entry, cause, None),
                }
            }
            let name = shebang.command.as_deref().unwrap_or(&shebang.interpreter);
            let name = name.rsplit('/').next().unwrap_or(name);
            if ["sh", "bash", "dash", "ksh", "busybox"].contains(&name) {
                self.scripts.push((entry, cause.clone()));
            }
        } else if let Some(elf) = self.inside.elf(entry) {
            self.binary(entry, elf, cause);
        }
    }

    fn interpreter(&mut self, path: &str, entry: &'a Entry, cause: &Cause) {
        match self.inside.look(Path::new(path)) {
            Lookup::There(program) => self.program(program, cause),
            Lookup::Unknown => {}
            Lookup::Missing(_) => self.gap(Kind::Interpreter, path, entry, cause, None),
        }
    }

    /// A program and its libraries, in the order in which ld.so opens them:
    /// one that is open already satisfies whoever needs its name.
    fn binary(&mut self, entry: &'a Entry, elf: Elf, cause: &Cause) {
        if let Some(path) = &elf.interpreter {
            self.interpreter(&path.to_string_lossy(), entry, cause);
        }
        let mut open: HashSet<String> = HashSet::new();
        let mut queue = VecDeque::from([(entry, elf, Vec::new())]);
        while let Some((entry, elf, inherited)) = queue.pop_front() {
            let mut passed_on = inherited.clone();
            if elf.runpath.is_empty() {
                passed_on.extend(own_directories(&elf, &entry.path));
            }
            for name in &elf.needed {
                if !open.insert(name.clone()) {
                    continue;
                }
                match self.loader.find(name, &elf, &entry.path, &inherited) {
                    Found::There(library) => {
                        self.done.insert(&library.path);
                        if let Some(elf) = self.inside.elf(library) {
                            queue.push_back((library, elf, passed_on.clone()));
                        }
                    }
                    // Fine for a plugin; for what is run, nothing has opened it before.
                    Found::Aside(library) if cause.severity == Severity::Error => {
                        self.gap(Kind::Library, name, entry, cause, Some(&library.path));
                    }
                    Found::Aside(_) => {}
                    Found::Missing => self.gap(Kind::Library, name, entry, cause, None),
                }
            }
        }
    }

    fn gap(
        &mut self,
        kind: Kind,
        missing: &str,
        entry: &Entry,
        cause: &Cause,
        aside: Option<&Path>,
    ) {
        let gap = self
            .gaps
            .entry((kind, missing.to_owned()))
            .or_insert_with(|| Gap {
                cause: Cause {
                    severity: cause.severity,
                    place: place(entry, cause),
                },
                wanted_by: Vec::new(),
                aside: aside.map(Path::to_owned),
            });
        let wanted = Wanted::new(entry);
        if !gap.wanted_by.contains(&wanted) {
            gap.wanted_by.push(wanted);
        }
    }

    /// Looks at the commands of the shell scripts that were met, and at those
    /// that they lead to.  Only what this host has is taken for a command.
    fn calls(&mut self, cures: &Cures<'_>) -> Result<()> {
        while let Some((entry, cause)) = self.scripts.pop() {
            let text = self.inside.read(entry, 0, SCRIPT).unwrap_or_default();
            let cause = Cause {
                severity: Severity::Warning,
                ..cause
            };
            for name in script::commands(&String::from_utf8_lossy(&text)) {
                match find_command(self.inside, &name) {
                    Ok(Some(program)) => self.program(program, &cause),
                    Ok(None) if cures.has_command(&name)? => {
                        self.gap(Kind::Command, &name, entry, &cause, None);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether `entry` is a script.
    pub(super) fn is_script(&self, entry: &Entry) -> bool {
        self.inside
            .read(entry, 0, 2)
            .is_some_and(|head| head == b"#!")
    }

    /// No more scripts are followed into their commands.
    pub(super) fn forget_scripts(&mut self) {
        self.scripts.clear();
    }

    /// Everything that was not there.
    pub(super) fn findings(self, cures: &Cures<'_>) -> Result<Vec<Finding>> {
        let mut findings = self.findings;
        for ((kind, missing), gap) in self.gaps {
            let who = who(&gap.wanted_by);
            let (title, help) = match (kind, &gap.aside) {
                (Kind::Library, Some(path)) => (
                    format!(
                        "{who} needs the library `{missing}`, which is where ld.so does not look: `{}`",
                        path.display()
                    ),
                    "add /etc/ld.so.cache to `host_files`, or put the library into /usr/lib".into(),
                ),
                (Kind::Library, None) => (
                    format!("{who} needs the library `{missing}`, which is not in the appliance"),
                    cures.library(&missing)?,
                ),
                (Kind::Command, _) => (
                    format!("{who} calls `{missing}`, which is not in the appliance"),
                    cures.command(&missing)?,
                ),
                _ => (
                    format!(
                        "{who} needs the interpreter `{missing}`, which is not in the appliance"
                    ),
                    if missing.contains('/') {
                        cures.path(Path::new(&missing))?
                    } else {
                        cures.command(&missing)?
                    },
                ),
            };
            findings.push(Finding {
                severity: gap.cause.severity,
                kind,
                place: gap.cause.place,
                title,
                help,
                missing,
                wanted_by: gap.wanted_by,
            });
        }
        Ok(findings)
    }
}

/// ``the script or program `X` of `package` `` and how many more, as the
/// subject of a sentence in the singular.
fn who(wanted_by: &[Wanted]) -> String {
    let Some(first) = wanted_by.first() else {
        return "something".into();
    };
    let name = format!("`{}` of `{}`", first.path.display(), first.owner);
    match wanted_by.len() - 1 {
        0 => name,
        1 => format!("{name} (like another file)"),
        more => format!("{name} (like {more} other files)"),
    }
}

/// A file of the description is the place; anything else is there because of
/// what led to it.
fn place(entry: &Entry, cause: &Cause) -> Place {
    match entry.origin {
        Origin::BaseImage(_) if entry.path != Path::new("/init") => Place::File(entry.path.clone()),
        _ => cause.place.clone(),
    }
}

fn carriage_return(entry: &Entry, cause: &Cause, interpreter: &str) -> Finding {
    Finding {
        severity: cause.severity,
        kind: Kind::Interpreter,
        place: place(entry, cause),
        title: format!(
            "`{}` has the line ends of Windows, so that its interpreter is taken to be `{interpreter}\\r`",
            entry.path.display()
        ),
        help: "convert it, for example with: sed -i 's/\\r$//' FILE".into(),
        missing: format!("{interpreter}\r"),
        wanted_by: vec![Wanted::new(entry)],
    }
}

/// The program that `word` means; the error says what is in its way.
fn find_command<'a>(inside: &Inside<'a>, word: &str) -> Result<Option<&'a Entry>, Obstacle> {
    let check = |entry: &'a Entry| {
        if !is_file(entry) {
            Err(Obstacle::NoFile(entry.path.clone()))
        } else if entry.mode & 0o111 == 0 {
            Err(Obstacle::NotExecutable(entry.path.clone()))
        } else {
            Ok(Some(entry))
        }
    };
    if word.contains('/') {
        return match inside.look(Path::new(word)) {
            Lookup::There(entry) => check(entry),
            Lookup::Unknown => Err(Obstacle::Unknown),
            Lookup::Missing(_) => Ok(None),
        };
    }
    if let Some(entry) = inside.command(word) {
        return Ok(Some(entry));
    }
    let mut there = super::inside::PATH
        .iter()
        .filter_map(|directory| inside.find(&Path::new(directory).join(word)));
    there.next().map_or(Ok(None), check)
}

/// Why something that is there cannot be run.
enum Obstacle {
    NoFile(PathBuf),
    NotExecutable(PathBuf),
    /// Nobody knows what will be there.
    Unknown,
}

/// Looks at what the description runs; what is wrong with its very first words
/// comes back as findings.
pub(super) fn from_init(
    walk: &mut Walk<'_>,
    subject: &Subject<'_>,
    cures: &Cures<'_>,
) -> Result<Vec<Finding>> {
    let inside = walk.inside;
    let mut findings = Vec::new();
    let cause = |place| Cause {
        severity: Severity::Error,
        place,
    };
    if let Some(entry) = inside.find(Path::new("/init")) {
        walk.program(entry, &cause(Place::Packages));
        // Made by Freezedry, and with care for what is not there.
        walk.forget_scripts();
    }
    let boot = &subject.description.boot;
    match &boot.init {
        Init::Systemd => match inside.find(Path::new("/sbin/init")) {
            Some(entry) => walk.program(entry, &cause(Place::Init)),
            None => findings.push(Finding {
                severity: Severity::Error,
                kind: Kind::Init,
                place: Place::Init,
                title: "`boot.init`: `systemd` runs `/sbin/init`, which is not in the appliance"
                    .into(),
                help: cures.path_or(Path::new("/sbin/init"), || {
                    "add `systemd-sysv` (Debian) or `systemd` (elsewhere) to `packages`".into()
                })?,
                missing: "/sbin/init".into(),
                wanted_by: Vec::new(),
            }),
        },
        Init::Shell => {
            for shell in ["/bin/bash", "/bin/sh"] {
                if let Some(entry) = inside.find(Path::new(shell)) {
                    walk.program(entry, &cause(Place::Init));
                }
            }
        }
        Init::Command(line) => {
            for (number, word) in script::commands(line).iter().enumerate() {
                // Whether the others run depends on those before them.
                let first = number == 0 && is_first_word(line, word);
                let severity = if first {
                    Severity::Error
                } else {
                    Severity::Warning
                };
                let cause = Cause {
                    severity,
                    place: Place::Init,
                };
                match find_command(inside, word) {
                    Ok(Some(entry)) => walk.program(entry, &cause),
                    Ok(None) => findings.push(no_command(word, severity, inside, subject, cures)?),
                    Err(Obstacle::Unknown) => {}
                    Err(Obstacle::NoFile(path)) => findings.push(obstacle(
                        severity,
                        &path,
                        format!(
                            "`boot.init`: `{word}` is no program: `{}` is a directory, or a device",
                            path.display()
                        ),
                        "name the program in it".into(),
                    )),
                    Err(Obstacle::NotExecutable(path)) => findings.push(obstacle(
                        severity,
                        &path,
                        format!("`boot.init`: `{}` is not executable", path.display()),
                        match subject
                            .description
                            .files
                            .iter()
                            .any(|file| file.path == path)
                        {
                            true => "add `mode: \"0755\"` to it in `files`".into(),
                            false => format!("write, for example, `sh {word}`, if it is a script"),
                        },
                    )),
                }
            }
        }
    }
    for file in &subject.description.files {
        if let Some(entry) = inside.find(&file.path)
            && file.mode & 0o111 != 0
        {
            let place = Place::File(file.path.clone());
            walk.program(
                entry,
                &Cause {
                    severity: Severity::Warning,
                    place,
                },
            );
        }
    }
    walk.calls(cures)?;
    Ok(findings)
}

/// Whether a command line starts with `word`, but for assignments and `exec`.
fn is_first_word(line: &str, word: &str) -> bool {
    let mut words = line
        .split_whitespace()
        .skip_while(|other| *other == "exec" || other.contains('='));
    words
        .next()
        .is_some_and(|first| first.trim_matches(['"', '\'']).trim_end_matches(';') == word)
}

fn obstacle(severity: Severity, path: &Path, title: String, help: String) -> Finding {
    Finding {
        severity,
        kind: Kind::Init,
        place: Place::Init,
        title,
        help,
        missing: path.display().to_string(),
        wanted_by: Vec::new(),
    }
}

fn no_command(
    word: &str,
    severity: Severity,
    inside: &Inside<'_>,
    subject: &Subject<'_>,
    cures: &Cures<'_>,
) -> Result<Finding> {
    let unknown = &subject.report.missing;
    let here = cures.has_command(word)?;
    let names: Vec<&str> = inside.commands().collect();
    let help = if here {
        cures.command(word)?
    } else if !unknown.is_empty() {
        format!(
            "it may be in what is not installed here: {}",
            unknown.join(", ")
        )
    } else if let Some(near) = description::nearest(word, &names) {
        format!("did you mean `{near}`?")
    } else {
        "no package of this host has it; install the one that does and add it to `packages`, or put the program into `files`".into()
    };
    Ok(Finding {
        severity: if here || unknown.is_empty() {
            severity
        } else {
            Severity::Warning
        },
        kind: Kind::Init,
        place: Place::Init,
        title: format!("`boot.init`: `{word}` is not in the appliance"),
        help,
        missing: word.to_owned(),
        wanted_by: Vec::new(),
    })
}
