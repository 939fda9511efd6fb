//! From a program to all that it needs to start: interpreters, libraries, and
//! for a shell script the commands that it calls.

use super::cure::Cures;
use super::elf::Elf;
use super::inside::{Inside, Lookup, is_file};
use super::loader::{Found, Loader, own_directories};
use super::{Finding, Kind, Place, Severity, Wanted, init, script};
use crate::Result;
use crate::appliance::plan::{Entry, Origin};
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

impl Cause {
    /// For what nothing leads to but may be started.
    pub(super) fn of_the_sweep() -> Self {
        Self {
            severity: Severity::Warning,
            place: Place::Packages,
        }
    }

    fn is_of_the_sweep(&self) -> bool {
        self.severity == Severity::Warning && self.place == Place::Packages
    }
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
    pub(super) inside: &'a Inside<'a>,
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
    pub(super) fn calls(&mut self, cures: &Cures<'_>) -> Result<()> {
        while let Some((entry, cause)) = self.scripts.pop() {
            let text = self.inside.read(entry, 0, SCRIPT).unwrap_or_default();
            let cause = Cause {
                severity: Severity::Warning,
                ..cause
            };
            for name in script::commands(&String::from_utf8_lossy(&text)) {
                match init::find_command(self.inside, &name) {
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
            // What a file of a package lacks on its host too is nothing that the
            // appliance could have.
            if gap.cause.is_of_the_sweep() && !cures.knows(kind, &missing)? {
                continue;
            }
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
