//! What an appliance would miss when it runs, seen from its author's desk.
//!
//! An appliance is made of packages whose scriptlets never ran and of which
//! only those are in that something depends on.  Most of what goes wrong in it
//! can be seen in the plan: the interpreter that a script names, the library
//! that a program needs, the command that a script calls.
//!
//! Everything here is a guess at what will happen in the guest, so it is made
//! to be quiet: an [error](Severity::Error) only where what the description
//! runs surely cannot run.

mod cure;
mod elf;
mod features;
mod init;
mod inside;
mod lexer;
mod loader;
mod names;
mod script;
mod sweep;
mod walk;

pub use crate::description::Severity;

use crate::Result;
use crate::appliance::Report;
use crate::appliance::kernel::Kernel;
use crate::appliance::plan::{Entry, Origin, Plan};
use crate::description::Description;
use crate::host::Host;
use cure::Cures;
use inside::Inside;
use loader::Loader;
use std::path::{Path, PathBuf};

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What the author says.
    pub description: &'a Description,
    /// What would be in the appliance.
    pub plan: &'a Plan,
    /// How the plan came to be.
    pub report: &'a Report,
    /// Where it would be rehydrated.
    pub host: &'a Host,
    /// The kernel that would be used; `None` where it is not to be looked at.
    pub kernel: Option<&'a Kernel>,
}

/// Something that the appliance would miss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub kind: Kind,
    /// The part of the description that it is about.
    pub place: Place,
    /// What is wrong, in one line.
    pub title: String,
    /// What to do about it.
    pub help: String,
    /// What is not there: a path, a name of a command, library, package or module;
    /// empty if nothing is lacking.
    pub missing: String,
    /// What wants it; what is nearest to what the description runs comes first.
    pub wanted_by: Vec<Wanted>,
}

/// Kinds of findings, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What the description runs.
    Init,
    /// A command that a script calls.
    Command,
    /// The interpreter of a script or a program.
    Interpreter,
    /// A shared library.
    Library,
    /// The target of a symlink.
    Link,
    /// A package that this host does not have.
    Package,
    /// A file of the host.
    HostFile,
    /// A kernel module.
    Module,
    /// A name of its own.
    Name,
}

impl Kind {
    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Command => "command",
            Self::Interpreter => "interpreter",
            Self::Library => "library",
            Self::Link => "link",
            Self::Package => "package",
            Self::HostFile => "host-file",
            Self::Module => "module",
            Self::Name => "name",
        }
    }
}

/// A part of a description.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `name`.
    Name,
    /// `boot.init`.
    Init,
    /// A key of `boot`.
    Boot(&'static str),
    /// The file of `files` with this path.
    File(PathBuf),
    /// This pattern of `host_files`.
    HostFile(String),
    /// This name in `packages`.
    Package(String),
    /// All of `packages`.
    Packages,
}

/// A file that wants something, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Its path in the appliance.
    pub path: PathBuf,
    /// The package that owns it, or the key of the description that brings it.
    pub owner: String,
}

impl Wanted {
    fn new(entry: &Entry) -> Self {
        let owner = match &entry.origin {
            Origin::Package(name) => name.to_string(),
            Origin::BaseImage(_) if entry.path != Path::new("/init") => "files".into(),
            Origin::HostFile => "host_files".into(),
            _ => "Freezedry".into(),
        };
        Self {
            path: entry.path.clone(),
            owner,
        }
    }
}

/// Everything that the appliance would miss, the worst first.
pub fn audit(subject: &Subject<'_>) -> Result<Vec<Finding>> {
    let inside = Inside::new(subject.plan);
    let loader = Loader::new(&inside, subject.plan);
    let cures = Cures::new(subject);
    let mut walk = walk::Walk::new(&inside, &loader);
    let mut findings = init::look(&mut walk, subject, &cures)?;
    sweep::everything(&mut walk, subject);
    findings.extend(walk.findings(&cures)?);
    findings.extend(sweep::links(&inside, subject.plan, &cures)?);
    findings.extend(names::unknown(subject)?);
    findings.extend(names::taken(subject)?);
    findings.extend(features::host_files(subject)?);
    findings.extend(features::modules(subject)?);
    findings.extend(features::ssh(subject, &inside));
    findings.extend(features::network(subject, &inside, &cures)?);
    let rank = |finding: &Finding| (finding.severity != Severity::Error, finding.kind);
    findings.sort_by(|a, b| {
        rank(a)
            .cmp(&rank(b))
            .then_with(|| a.missing.cmp(&b.missing))
    });
    Ok(findings)
}
