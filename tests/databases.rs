//! Package databases, with their own package managers as judges.

use crate::support::appliance::yaml;
use crate::support::pacman::{Package, Root};
use crate::support::{both, freezedry, require, run, skip};
use ConfigState::{Edited, Missing, Pristine};
use freezedry::family::Family;
use freezedry::host::{ConfigState, Host, Manager, Resolution};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Epochs, provisions with and without versions, sonames, cycles, missing
/// dependencies, configuration files of every kind, and odd paths.
const ARCH: [Package; 14] = [
    Package {
        info: &[
            "depend base",
            "depend virtual",
            "depend sh>=5",
            "optdepend lib-old: why not",
        ],
        files: &[("usr/bin/app", "app\n")],
        ..Package::new("app", "2:1.0-1")
    },
    Package {
        info: &["provides base=3", "depend app"],
        files: &[("etc/base.conf", "base\n")],
        ..Package::new("aaa-base", "1-1")
    },
    Package {
        info: &["depend filesystem", "backup etc/base file.conf"],
        files: &[("etc/base file.conf", "b\n"), ("usr/share/a b/c  d", "x\n")],
        ..Package::new("base", "1.0.r5.gabc-1")
    },
    Package {
        info: &[
            "backup etc/edited.conf",
            "backup etc/kept.conf",
            "backup etc/gone.conf",
            "backup etc/never",
        ],
        files: &[
            ("etc/edited.conf", "edited\n"),
            ("etc/kept.conf", "kept\n"),
            ("etc/gone.conf", "gone\n"),
            ("etc/not-backup", "plain\n"),
            ("etc/touched", "touched\n"),
            ("usr/lib/os", "os\n"),
        ],
        links: &[("etc/mtab", "../proc/mounts"), ("usr/lib/link", "os")],
        ..Package::new("filesystem", "2024.01.01-1")
    },
    Package {
        info: &[
            "provides sh=5.2",
            "provides virtual",
            "depend libreadline.so=8-64",
            "depend glibc>=2.36",
        ],
        files: &[("usr/bin/bash", "bash\n")],
        ..Package::new("bash", "5.2-1")
    },
    Package {
        info: &[
            "provides libreadline.so=8-64",
            "depend glibc",
            "depend ncurses",
        ],
        ..Package::new("readline", "8.2-1")
    },
    Package {
        info: &["provides libreadline.so=7-64"],
        ..Package::new("a-readline7", "7.0-1")
    },
    Package {
        info: &["depend filesystem", "depend tzdata", "depend missing>1"],
        ..Package::new("glibc", "1:2.36-2")
    },
    Package {
        info: &["depend glibc<1:2.36", "depend glibc<=1:2.36-2"],
        ..Package::new("ncurses", "6.4-1.1")
    },
    Package {
        files: &[("usr/share/zoneinfo/Europe/Zürich", "t\n")],
        ..Package::new("tzdata", "2024a-1")
    },
    Package {
        info: &["provides virtual=1", "depend virtual=1", "depend base>2"],
        ..Package::new("zzz", "0-1")
    },
    Package::new("lib-old", "1.0rc1-1"),
    Package {
        info: &[
            "provides lib-old=1.0",
            "depend lib-old=1.0rc1",
            "depend lib-old>=1.0",
        ],
        ..Package::new("lib-new", "1.0-1")
    },
    // An upgrade: the old version has to vanish.
    Package {
        files: &[("usr/share/zoneinfo/UTC", "t\n")],
        ..Package::new("tzdata", "2024b-1")
    },
];

fn arch() -> Option<(Root, Host)> {
    let root = Root::install(&ARCH)?;
    let etc = root.path().join("etc");
    std::fs::write(etc.join("edited.conf"), "mine\n").unwrap();
    std::fs::write(etc.join("not-backup"), "mine\n").unwrap();
    std::fs::write(etc.join("touched"), "touched\n").unwrap();
    std::fs::remove_file(etc.join("gone.conf")).unwrap();
    let host = Host::with(root.path(), None).unwrap();
    assert_eq!(
        (host.family(), host.manager()),
        (Family::Arch, Manager::Pacman)
    );
    Some((root, host))
}

#[test]
fn every_arch_package_is_as_pacman_says() {
    let Some((root, host)) = arch() else { return };
    let database = host.packages().unwrap();
    let ours: Vec<String> = database
        .packages()
        .iter()
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    let theirs = root.pacman(&["-Q"]);
    assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
    for (id, package) in database.packages().iter().enumerate() {
        let files = database.files(&[id]).unwrap();
        let ours: BTreeSet<String> = files
            .iter()
            .map(|file| format!("{} {}", package.name, file.path.display()))
            .collect();
        let listed = root.pacman(&["-Ql", &package.name]);
        let prefix = root.path().to_str().unwrap();
        let theirs: BTreeSet<String> = listed
            .lines()
            .map(|line| line.trim_end_matches('/').replace(prefix, ""))
            .collect();
        assert_eq!(ours, theirs);
        let info = root.pacman(&["-Qi", &package.name]);
        let architecture = info
            .lines()
            .find_map(|line| line.strip_prefix("Architecture    : "));
        assert_eq!(architecture, Some(package.architecture.as_str()));
    }
}

#[test]
fn arch_names_mean_what_they_mean_to_pacman() {
    let Some((root, host)) = arch() else { return };
    let database = host.packages().unwrap();
    for name in [
        "bash",
        "sh",
        "virtual",
        "base",
        "libreadline.so",
        "libreadline.so=7-64",
        "lib-old",
        "missing",
        "sh>9",
        "tzdata",
        "optional",
        "app",
    ] {
        let output = root.try_pacman(&["-Q", name]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let theirs = output
            .status
            .success()
            .then(|| said.split(' ').next().unwrap());
        let ours = database
            .find(name)
            .map(|id| database.packages()[id].name.as_str());
        assert_eq!(ours, theirs, "{name}");
    }
}

/// libalpm is the judge; pactree is a thin program on it.
#[test]
fn arch_dependencies_are_followed_as_libalpm_does() {
    let Some((root, host)) = arch() else { return };
    if !require(&["python3"]) {
        return;
    }
    let database = host.packages().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/alpm-closure.py");
    for (mode, resolution) in [
        ("names", Resolution::Compatible),
        ("versions", Resolution::Correct),
    ] {
        let said = run(Command::new("python3")
            .arg(&script)
            .arg(root.path())
            .arg(mode));
        assert_eq!(said.lines().count(), database.packages().len());
        for line in said.lines() {
            let mut theirs = line.split(' ');
            let id = database.find(theirs.next().unwrap()).unwrap();
            let ours: Vec<&str> = database
                .closure(&[id], resolution)
                .into_iter()
                .map(|id| database.packages()[id].name.as_str())
                .collect();
            assert_eq!(ours, theirs.collect::<Vec<_>>(), "{mode}: {line}");
        }
    }
}

/// `pacman -Qkk` checks sizes, times and checksums of every file.
#[test]
fn edited_arch_configuration_is_told_from_pristine() {
    let Some((root, host)) = arch() else { return };
    let database = host.packages().unwrap();
    let all: Vec<usize> = (0..database.packages().len()).collect();
    let found: BTreeMap<String, ConfigState> = database
        .config_files(&all)
        .unwrap()
        .into_iter()
        .map(|file| (file.path.display().to_string(), file.state))
        .collect();
    let expected = [
        ("/etc/base file.conf", Pristine),
        ("/etc/base.conf", Pristine),
        ("/etc/edited.conf", Edited),
        ("/etc/gone.conf", Missing),
        ("/etc/kept.conf", Pristine),
        ("/etc/not-backup", Edited),
        ("/etc/touched", Pristine),
    ];
    let expected = expected.map(|(path, state)| (path.to_owned(), state));
    assert_eq!(found, BTreeMap::from(expected));

    let output = root.try_pacman(&["-Qkk", "filesystem"]);
    let said = both(&output).replace(root.path().to_str().unwrap(), "");
    for path in ["/etc/edited.conf", "/etc/not-backup"] {
        assert!(
            said.contains(&format!("{path} (SHA256 checksum mismatch)")),
            "{said}"
        );
    }
    assert!(said.contains("/etc/gone.conf (No such file"), "{said}");
    for path in ["/etc/kept.conf", "/etc/touched"] {
        assert!(!said.contains(&format!("{path} (SHA256")), "{said}");
    }
    // What is a configuration file is not taken from the host unseen.
    let files = database.files(&all).unwrap();
    let config: BTreeSet<String> = files
        .iter()
        .filter(|file| file.config)
        .map(|file| file.path.display().to_string())
        .collect();
    let there = found.iter().filter(|(_, state)| **state != Missing);
    assert_eq!(config, there.map(|(path, _)| path.clone()).collect());
}

#[test]
fn a_host_without_a_database_gives_its_files_and_says_why_no_packages() {
    let dir = tempfile::tempdir().unwrap();
    let rest = "packages: [bash]\nhost_files: [/etc/ld.so.cache]\nboot: {init: \"true\"}\n";
    std::fs::write(dir.path().join("box.yaml"), yaml("plain-host", rest)).unwrap();
    let freezedry = |words: &[&str]| {
        let mut freezedry = freezedry();
        freezedry.args(words).env("FREEZEDRY_PACKAGES", "none");
        let output = freezedry.current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{}", both(&output));
        String::from_utf8(output.stderr).unwrap()
    };
    let why = "no package database here that can be read (FREEZEDRY_PACKAGES may name one)";
    let said = freezedry(&["prepare", "box.yaml"]);
    assert!(said.contains(why), "{said}");
    let said = freezedry(&[
        "rehydrate",
        "--format",
        "chroot",
        "-v",
        "-o",
        "out",
        "supermin.d",
    ]);
    assert!(said.contains(why), "{said}");
    let there = |path: &str| dir.path().join("out").join(path).exists();
    assert!(there("etc/ld.so.cache") && there("init"));
    assert!(!there("bin/bash") && !there("usr/bin/bash"));
}

#[test]
fn every_package_of_this_system_has_the_files_that_dpkg_says() {
    if !Path::new("/var/lib/dpkg/status").exists() {
        skip("this is no Debian system");
        return;
    }
    let host = freezedry::host::Host::detect(Path::new("/")).unwrap();
    let database = host.packages().unwrap();
    let shown = run(Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${db:Status-Status} ${Package}_${Version}_${Architecture} ${binary:Package}\n",
    ]));
    let expected: Vec<(&str, &str)> = shown
        .lines()
        .filter_map(|line| {
            line.strip_prefix("installed ")
                .or(line.strip_prefix("triggers-pending "))
        })
        .filter_map(|line| line.split_once(' '))
        .collect();
    assert_eq!(database.packages().len(), expected.len());
    for (shown, name) in expected {
        let id = database
            .packages()
            .iter()
            .position(|package| package.to_string() == shown);
        let id = id.unwrap_or_else(|| panic!("{shown} is missing"));
        let files = database.files(&[id]).unwrap();
        let ours: BTreeSet<String> = files
            .into_iter()
            .map(|file| file.path.display().to_string())
            .collect();
        let listed = run(Command::new("dpkg-query").args(["-L", name]));
        let theirs: BTreeSet<String> = listed
            .lines()
            .filter(|line| line.starts_with('/') && *line != "/.")
            .map(str::to_owned)
            .collect();
        assert_eq!(ours, theirs, "{name}");
    }
}
