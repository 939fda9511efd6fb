//! The RPM world and what its database says, by us and by rpm.

use super::{both, require, require_root, rpm_world, run};
use freezedry::host::PackageDatabase;
use freezedry::host::rpm::Rpm;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the database lies in a root.
pub(crate) const DIRECTORY: &str = "usr/lib/sysimage/rpm";

/// The RPM world, with a copy of its database for the judges: rpm writes even
/// when it is only asked.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    judges: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Option<Self> {
        let root = rpm_world()?;
        if !require(&["unshare"]) || !require_root() {
            return None;
        }
        let judges = tempfile::tempdir().unwrap();
        copy(&root.join(DIRECTORY), &judges.path().join("rpm"));
        Some(Self { root, judges })
    }

    pub(crate) fn ask(&self, words: &[&str]) -> Output {
        let enter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rpm-world/enter-rpm-world");
        let bind = format!("{}/rpm:/{DIRECTORY}", self.judges.path().display());
        let mut command = Command::new(enter);
        command.args(["--bind", &bind]).arg(&self.root).args(words);
        command.output().unwrap()
    }

    pub(crate) fn must(&self, words: &[&str]) -> String {
        let output = self.ask(words);
        assert!(output.status.success(), "{}", both(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A root of its own with nothing but a copy of the database.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        run(Command::new("chmod").arg("755").arg(root.path()));
        std::fs::create_dir_all(root.path().join(DIRECTORY).parent().unwrap()).unwrap();
        copy(&self.root.join(DIRECTORY), &root.path().join(DIRECTORY));
        root
    }
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-r").arg(from).arg(to));
}

/// What a database says of every package: its files, those of them that are
/// configuration, and what it requires and provides.
pub(crate) fn everything(database: &Rpm) -> BTreeMap<String, [BTreeSet<String>; 4]> {
    let facts = database.packages().iter().enumerate().map(|(id, package)| {
        let files = database.files(&[id]).unwrap();
        let paths = |config: bool| {
            let files = files.iter().filter(|file| !config || file.config);
            files.map(|file| file.path.display().to_string()).collect()
        };
        let set = |list: Vec<String>| list.into_iter().collect();
        let facts = [
            paths(false),
            paths(true),
            set(database.requires(id)),
            set(database.provides(id)),
        ];
        (package.to_string(), facts)
    });
    facts.collect()
}

/// The same by rpm; `query` asks it.
pub(crate) fn everything_by_rpm(
    query: impl Fn(&[&str]) -> String,
) -> BTreeMap<String, [BTreeSet<String>; 4]> {
    const MARK: &str = "package ";
    let mut found: BTreeMap<String, [BTreeSet<String>; 4]> = BTreeMap::new();
    let package = format!("{MARK}%{{NEVRA}}\n");
    let formats = [
        package.clone(),
        package.clone(),
        format!("{package}[%{{REQUIRENEVRS}}\n]"),
        format!("{package}[%{{PROVIDENEVRS}}\n]"),
    ];
    for (at, (listed, format)) in ["-qal", "-qac", "-qa", "-qa"]
        .into_iter()
        .zip(formats)
        .enumerate()
    {
        let mut name = String::new();
        for line in query(&["rpm", listed, "--qf", &format]).lines() {
            if let Some(next) = line.strip_prefix(MARK) {
                next.clone_into(&mut name);
                found.entry(name.clone()).or_default();
            } else if !["(contains no files)", "(none)"].contains(&line) {
                found.get_mut(&name).unwrap()[at].insert(line.to_owned());
            }
        }
    }
    found.retain(|name, _| !name.starts_with("gpg-pubkey-"));
    found
}

pub(crate) fn assert_same(
    ours: &BTreeMap<String, [BTreeSet<String>; 4]>,
    theirs: &BTreeMap<String, [BTreeSet<String>; 4]>,
) {
    assert!(
        ours.keys().eq(theirs.keys()),
        "{:?} {:?}",
        ours.keys(),
        theirs.keys()
    );
    for (name, ours) in ours {
        assert_eq!(ours, &theirs[name], "{name}");
    }
}
