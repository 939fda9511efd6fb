//! The author's YAML: the model, and loading it with good messages.

mod decode;
mod dependency;
mod keys;
mod locate;
mod manual;
mod problems;
mod rules;
mod schema;
mod sections;
mod tree;
mod without;

pub use decode::nearest;
pub use dependency::{Comparison, Dependency, Packages, Relations};
pub use locate::locate;
pub use manual::manual;
pub use problems::{Problem, Problems, Severity};
pub use rules::{is_capability, is_kept, parse_port, parse_size};
pub use schema::schema;
pub use sections::PERSISTENT;
pub use without::without;

use std::fmt;
use std::path::{Path, PathBuf};

/// What an author says of an appliance, checked and with defaults filled in.
#[derive(Debug, Clone)]
pub struct Description {
    /// The name of the appliance and its packages.
    pub name: String,
    /// The version of the packages.
    pub version: String,
    /// The release (RPM) or revision (Debian) of the packages.
    pub release: String,
    /// The epoch of the packages.
    pub epoch: Option<u32>,
    /// One line.
    pub summary: String,
    /// Paragraphs.
    pub description: String,
    /// An SPDX expression.
    pub license: String,
    /// Who answers for it.
    pub maintainer: Maintainer,
    /// Its home page.
    pub url: Option<String>,
    /// What it is made of.
    pub packages: Packages,
    /// What else its packages say of others.
    pub relations: Relations,
    /// Files that belong to no package and come with the appliance.
    pub files: Vec<File>,
    /// Patterns of files that are taken from the host as they are.
    pub host_files: Vec<String>,
    /// Patterns of the packages' paths that are left out.
    pub exclude: Vec<String>,
    /// How it runs.
    pub boot: Boot,
    /// When it is rehydrated.
    pub rehydrate: Rehydrate,
    /// What its source packages are built with.
    pub engine: Engine,
    /// Whether the packages' scriptlets run, at the first boot.
    pub scriptlets: Scriptlets,
    /// What changed, newest first.
    pub changelog: Vec<Change>,
    /// What is legal but probably not meant.
    pub warnings: Problems,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintainer {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
}

/// As packages write it: a name with punctuation is quoted in e-mail but not there.
impl fmt::Display for Maintainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

/// A file that comes with the appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it goes; absolute and normal.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u16,
    /// Where it comes from.
    pub source: Source,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Its content stands in the description.
    Text(String),
    /// A file in the description's folder.
    File(PathBuf),
    /// It is a symlink to this.
    Symlink(PathBuf),
    /// It is an empty directory.
    Directory,
}

/// How an appliance runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What runs in it.
    pub init: Init,
    /// Memory, in bytes.
    pub memory: u64,
    /// Processors.
    pub cpus: u32,
    /// Whether it has qemu's user network.
    pub network: bool,
    /// Ports of the host that lead to ports of the guest; only with a network.
    pub ports: Vec<(u16, u16)>,
    /// Whether root has no password; else nobody can log in with one.
    pub root_without_password: bool,
    /// Whether root is logged in on the console without being asked.
    pub autologin: bool,
    /// Public keys of ssh that let in as root, in the form of authorized_keys(5).
    pub authorized_keys: Vec<String>,
    /// Kernel modules beyond those that booting needs.
    pub modules: Vec<String>,
    /// Whether all modules of the kernel go in.
    pub all_modules: bool,
    /// Directories that outlive the guest; with none all is thrown away.
    pub persistent: Vec<String>,
    /// Whether its console is a window.
    pub graphical: bool,
}

impl Boot {
    /// Whether Freezedry alone can run it: supermin and qemu without Freezedry
    /// keep nothing and show no screen.
    pub fn needs_freezedry(&self) -> bool {
        !self.persistent.is_empty() || self.graphical
    }
}

/// What runs in an appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Init {
    /// A shell on the console.
    Shell,
    /// `/sbin/init`.
    Systemd,
    /// A command line for `/bin/sh -c`.
    Command(String),
}

/// What becomes of the packages' scriptlets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scriptlets {
    /// They do not run: what most of them do is made from the packages' data.
    Generated,
    /// They run besides, once, in the guest.
    Run,
}

/// When an appliance is rehydrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehydrate {
    /// When it is booted, for each user.
    AtBoot,
    /// When its package is installed, once for all users, and again when a
    /// package changes that it is made of.
    AtInstall,
}

/// What builds the source packages of an appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Freezedry, which renders everything anew.
    Freezedry,
    /// supermin alone: the source package brings all that Freezedry renders,
    /// so that a distribution without Freezedry can build it.
    Supermin,
}

/// An entry of the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The version, with its release.
    pub version: String,
    /// The day.
    pub date: Date,
    /// Who made it.
    pub author: Maintainer,
    /// What was done, a line each.
    pub changes: Vec<String>,
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    days: u32,
}

impl Date {
    /// The beginning of the day (UTC), in seconds since 1970, which is what rpmbuild
    /// makes `SOURCE_DATE_EPOCH` of a day in a changelog: tools complain about
    /// files from the future, which noon may be.
    pub fn timestamp(self) -> u32 {
        self.days * 86400
    }
}

/// Reads the description at `path`; files that it names are looked for in the
/// same folder.
pub fn load(path: &Path) -> Result<Description, Problems> {
    let name = path.display().to_string();
    #[allow(clippy::disallowed_methods)] // the message is a problem like any other
    let text = std::fs::read_to_string(path).map_err(|e| {
        Problems::of_file(&name, &format!("cannot read the description `{name}`: {e}"))
    })?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    parse(&text, &name, folder)
}

/// Whether `name` can be the name of an appliance; the error says why not.
pub fn check_name(name: &str) -> crate::Result<()> {
    rules::name(name).map_err(|decode::Fault(what, help)| {
        crate::Error::input(format!("this cannot be the name of an appliance: {what}")).hint(help)
    })
}

/// Whether `text` is of the form `Name <address>`.
pub fn is_maintainer(text: &str) -> bool {
    rules::maintainer(text).is_ok()
}

/// Reads a description from `text`; `name` is for messages.
pub fn parse(text: &str, name: &str, folder: &Path) -> Result<Description, Problems> {
    let mut problems = Problems::new(name, text);
    let description = match tree::parse(text) {
        Ok(root) => sections::description(&root, folder, &mut problems),
        Err(problem) => {
            problems.add(problem);
            None
        }
    };
    problems.sort();
    match description {
        Some(mut description) if !problems.has_errors() => {
            description.warnings = problems;
            Ok(description)
        }
        _ => Err(problems),
    }
}
