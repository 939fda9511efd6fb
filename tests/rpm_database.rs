//! What the RPM database says, with the real rpm and dnf as judges.

use crate::support::rpm::{DIRECTORY, World, assert_same, everything, everything_by_rpm};
use crate::support::{both, require, require_root, run};
use freezedry::family::Family;
use freezedry::host::rpm::Rpm;
use freezedry::host::{ConfigState, Host, PackageDatabase, PackageId, Resolution};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn every_package_has_the_files_and_capabilities_that_rpm_says() {
    let Some(world) = World::new() else { return };
    let host = Host::detect(&world.root).unwrap();
    assert_eq!(host.family(), Family::Fedora);
    assert!(host.packages().unwrap().packages().len() > 100);
    let ours = everything(&Rpm::open(&world.root).unwrap());
    assert_same(&ours, &everything_by_rpm(|words| world.must(words)));
}

/// Asks rpm who provides each of `names`, all at once.
fn what_provides(
    ask: impl Fn(&[&str]) -> Output,
    names: &BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    // Nobody provides it, which rpm says, and so parts the answers.
    const PART: &str = "@";
    let mut words = vec!["rpm", "-q", "--qf", "%{NEVRA}\n", "--whatprovides"];
    for name in names {
        words.extend([name.as_str(), PART]);
    }
    let output = ask(&words);
    let answer = String::from_utf8(output.stdout).unwrap();
    let parts: Vec<&str> = answer.split("no package provides @\n").collect();
    assert_eq!(parts.len(), names.len() + 1, "{answer}");
    let none = |line: &&str| {
        !line.starts_with("no package provides ") && !line.starts_with("error: file ")
    };
    let parts = parts
        .iter()
        .map(|part| part.lines().filter(none).map(str::to_owned).collect());
    names.iter().cloned().zip(parts).collect()
}

/// Every name that a package requires, without version.
fn required_names(database: &Rpm) -> BTreeSet<String> {
    let all = (0..database.packages().len()).flat_map(|id| database.requires(id));
    all.map(|text| {
        if text.starts_with('(') {
            return text;
        }
        text.split(' ').next().unwrap().to_owned()
    })
    .collect()
}

fn shown(database: &Rpm, ids: &[PackageId]) -> BTreeSet<String> {
    ids.iter()
        .map(|&id| database.packages()[id].to_string())
        .collect()
}

#[test]
fn every_requirement_is_provided_by_whom_rpm_says() {
    let Some(world) = World::new() else { return };
    let database = Rpm::open(&world.root).unwrap();
    let mut names = required_names(&database);
    // Every directory of programs by its other name.
    names.extend(
        [
            "/bin/awk",
            "/sbin/ldconfig",
            "/usr/sbin/../bin/env",
            "/bin",
            "/no/such",
        ]
        .map(String::from),
    );
    let theirs = what_provides(|words| world.ask(words), &names);
    let mut files = 0;
    for (name, theirs) in &theirs {
        assert_eq!(
            &shown(&database, &database.what_provides(name)),
            theirs,
            "{name}"
        );
        files += usize::from(name.starts_with('/') && !theirs.is_empty());
        // Found by name first, then as the only provider.
        let named = database
            .packages()
            .iter()
            .any(|package| package.name == *name);
        let found = database.find_as(name, Resolution::Compatible);
        assert_eq!(found.is_some(), named || theirs.len() == 1, "{name}");
    }
    assert!(files > 5);
}

/// Fails unless rpm would erase everything but `keep`.
fn assert_complete(database: &Rpm, keep: &[PackageId], ask: impl Fn(&[&str]) -> Output) {
    let kept = shown(database, keep);
    let all: Vec<PackageId> = (0..database.packages().len()).collect();
    let others: Vec<String> = shown(database, &all).difference(&kept).cloned().collect();
    let mut words = vec!["rpm", "-e", "--test"];
    words.extend(others.iter().map(String::as_str));
    if !others.is_empty() {
        let output = ask(&words);
        assert!(
            output.status.success(),
            "{kept:?} lack something: {}",
            both(&output)
        );
    }
}

/// Package sets of different size; their closures are judged.
const SETS: [&[&str]; 9] = [
    &["bash"],
    &["bash", "coreutils"],
    &["systemd"],
    &["dnf"],
    &["kernel-core", "kmod"],
    &["openssh-clients", "iproute"],
    &["python3"],
    &["qemu-system-x86", "lvm2", "sudo"],
    &["gawk", "less", "vim-minimal", "util-linux", "procps-ng"],
];

/// Packages that dnf lists, since it lists all who provide something, and that
/// we leave out, since another provider is in already.
const ALTERNATIVES: [&str; 0] = [];

#[test]
fn closures_are_complete_for_rpm_and_no_larger_than_those_of_dnf() {
    let Some(world) = World::new() else { return };
    let database = Rpm::open(&world.root).unwrap();
    for names in SETS {
        let found = names.iter().map(|name| database.find(name).unwrap());
        let roots: Vec<PackageId> = found.collect();
        let closure = database.closure(&roots, Resolution::Correct);
        assert_complete(&database, &closure, |words| world.ask(words));

        let ours = shown(&database, &closure);
        let roots = shown(&database, &roots);
        let mut words = vec![
            "dnf",
            "-q",
            "repoquery",
            "--installed",
            "--requires",
            "--resolve",
            "--recursive",
        ];
        let format = "%{name}-%{epoch}:%{version}-%{release}.%{arch}";
        words.extend(["--qf", format]);
        words.extend(roots.iter().map(String::as_str));
        let answer = world.must(&words);
        let theirs: BTreeSet<String> = answer
            .lines()
            .map(|line| line.replacen("-0:", "-", 1))
            .collect();
        let theirs: BTreeSet<String> = theirs.union(&roots).cloned().collect();
        let more: Vec<_> = ours.difference(&theirs).collect();
        assert!(more.is_empty(), "{names:?}: {more:?} are not needed");
        let less: Vec<_> = theirs
            .difference(&ours)
            .filter(|name| !ALTERNATIVES.iter().any(|other| name.starts_with(other)))
            .collect();
        assert!(less.is_empty(), "{names:?}: {less:?}");
    }
    for id in (0..database.packages().len()).step_by(50) {
        let closure = database.closure(&[id], Resolution::Correct);
        assert_complete(&database, &closure, |words| world.ask(words));
    }
    // The judge can say no.
    let bash = database.find("bash").unwrap();
    let without =
        std::panic::catch_unwind(|| assert_complete(&database, &[bash], |words| world.ask(words)));
    assert!(without.is_err());
}

/// Builds the packages of `odd.spec` for `target` and installs them in `root`
/// with their files, whatever they require.
fn install_odd(root: &Path, top: &Path, target: &str, define: &[&str]) {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/odd.spec");
    let top = top.join(target);
    let mut build = Command::new("rpmbuild");
    build.args(["--quiet", "-bb", "--target", target, "--define"]);
    build.arg(format!("_topdir {}", top.display()));
    define.iter().for_each(|define| {
        build.args(["--define", define]);
    });
    run(build.arg(spec));
    let mut packages = Vec::new();
    for directory in top.join("RPMS").read_dir().unwrap() {
        let files = directory.unwrap().path().read_dir().unwrap();
        packages.extend(files.map(|file| file.unwrap().path()));
    }
    let options = ["-i", "--nodeps", "--ignorearch", "--force", "--noscripts"];
    run(rpm_in(root).args(options).args(packages));
}

/// rpm with a root and its database.
fn rpm_in(root: &Path) -> Command {
    let mut rpm = Command::new("rpm");
    rpm.arg("--root").arg(root);
    rpm.args(["--define", &format!("_dbpath /{DIRECTORY}")]);
    rpm
}

/// Conditional and other rich dependencies, versions, two architectures, file
/// dependencies across a symlink: what the RPM world lacks.
#[test]
fn odd_packages_are_followed_as_rpm_checks_them() {
    if !require(&["rpm", "rpmbuild"]) || !require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("usr/bin")).unwrap();
    std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
    install_odd(&root, dir.path(), "x86_64", &[]);
    install_odd(&root, dir.path(), "i686", &["second 1"]);
    let ask = |words: &[&str]| rpm_in(&root).args(&words[1..]).output().unwrap();

    let database = Rpm::open(&root).unwrap();
    assert_same(
        &everything(&database),
        &everything_by_rpm(|words| String::from_utf8(ask(words).stdout).unwrap()),
    );
    let mut wanted = required_names(&database);
    wanted.extend(["/bin/odd-tool", "/usr/bin/odd-tool", "odd-base"].map(String::from));
    for (name, theirs) in what_provides(ask, &wanted) {
        assert_eq!(
            shown(&database, &database.what_provides(&name)),
            theirs,
            "{name}"
        );
    }
    // What each package needs besides itself, by the names that differ.
    let mut needed = BTreeMap::new();
    for (id, package) in database.packages().iter().enumerate() {
        let closure = database.closure(&[id], Resolution::Correct);
        assert_complete(&database, &closure, ask);
        let names: Vec<String> = closure
            .into_iter()
            .filter(|&other| other != id)
            .map(|other| &database.packages()[other])
            .map(|other| format!("{}.{}", other.name.replace("odd-", ""), other.architecture))
            .collect();
        let name = format!(
            "{}.{}",
            package.name.replace("odd-", ""),
            package.architecture
        );
        needed.insert(name, names.join(" "));
    }
    let needs = |name: &str| needed[&format!("{name}.noarch")].as_str();
    for (name, expected) in [
        ("if-absent", ""),
        ("if-present", "a.noarch b.noarch"),
        ("if-else", "c.noarch"),
        ("if-late", "a.noarch b.noarch late.noarch"),
        ("or-first", "a.noarch"),
        ("or-ready", "b.noarch"),
        ("and", "a.noarch b.noarch"),
        ("with", "both.noarch"),
        ("without", "one.noarch"),
        ("version", "new.noarch"),
        ("tilde", "new.noarch"),
        ("epoch", "new.noarch"),
        ("file", "tool.noarch"),
        ("file-or", "tool.noarch"),
        ("weak", ""),
        ("virtual", "one.noarch"),
        ("virtual-ready", "both.noarch"),
    ] {
        assert_eq!(needs(name), expected, "{name}");
    }
    assert_eq!(needs("any-base"), "base.x86_64");
    assert_eq!(needed["uses-base.x86_64"], "base.x86_64");
    assert_eq!(needed["uses-base.i686"], "base.i686");
}

/// `rpm -V` is the judge of what is edited.
#[test]
fn configuration_files_are_edited_when_rpm_says_so() {
    if !require(&["rpm", "rpmbuild"]) || !require_root() {
        return;
    }
    // MD5, SHA-256 and SHA-512 by their numbers; of SHA-1 we know nothing.
    for algorithm in [1, 8, 10, 2] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let define = format!("_binary_filedigest_algorithm {algorithm}");
        install_odd(&root, dir.path(), "x86_64", &[&define]);
        let etc = root.join("etc/odd");
        std::fs::write(etc.join("edited"), "something else").unwrap();
        std::fs::remove_file(etc.join("removed")).unwrap();
        std::fs::remove_file(etc.join("link-changed")).unwrap();
        std::os::unix::fs::symlink("elsewhere", etc.join("link-changed")).unwrap();
        std::fs::write(etc.join("ghost-made"), "made by a program").unwrap();

        let database = Rpm::open(&root).unwrap();
        let all: Vec<PackageId> = (0..database.packages().len()).collect();
        let files = database.config_files(&all).unwrap();
        let ours: BTreeMap<&str, ConfigState> = files
            .iter()
            .map(|file| (file.path.file_name().unwrap().to_str().unwrap(), file.state))
            .collect();
        let kept = match algorithm {
            2 => [ConfigState::Unverifiable; 2],
            _ => [ConfigState::Pristine, ConfigState::Edited],
        };
        let expected = BTreeMap::from([
            ("kept", kept[0]),
            ("edited", kept[1]),
            ("removed", ConfigState::Missing),
            ("link-kept", ConfigState::Pristine),
            ("link-changed", ConfigState::Edited),
            ("ghost-made", ConfigState::Ghost),
            ("ghost-missing", ConfigState::Ghost),
        ]);
        assert_eq!(ours, expected, "{algorithm}");
        // A ghost is allowed to differ and to be missing, so rpm says nothing.
        let said = rpm_in(&root)
            .args(["-V", "--nodeps", "--nomtime", "odd-config"])
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let theirs: BTreeSet<&str> = said
            .lines()
            .filter_map(|line| line.rsplit('/').next())
            .collect();
        assert_eq!(
            theirs,
            BTreeSet::from(["edited", "link-changed", "removed"]),
            "{said}"
        );
    }
}
