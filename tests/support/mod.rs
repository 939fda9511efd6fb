//! What the tests share.
#![allow(dead_code)] // each test file uses a part of it

pub(crate) mod appliance;
pub(crate) mod console;
pub(crate) mod content;
pub(crate) mod lint;
pub(crate) mod overlay;
pub(crate) mod own_packages;
pub(crate) mod pacman;
pub(crate) mod rpm;
pub(crate) mod screen;
pub(crate) mod signing;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Skips the test (by returning `false`, after saying why) where one of
/// `programs` is missing; in CI that is a failure.
pub(crate) fn require(programs: &[&str]) -> bool {
    let there = |program: &&&str| {
        !std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
        })
    };
    match programs.iter().find(there) {
        Some(program) => skip(&format!("`{program}` is missing")),
        None => true,
    }
}

/// Skips the test where it does not run as root.
pub(crate) fn require_root() -> bool {
    rustix::process::geteuid().is_root() || skip("it needs root")
}

/// Says why a test is skipped, and returns `false`; in CI it fails instead.
pub(crate) fn skip(reason: &str) -> bool {
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "a prerequisite is missing in CI: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
    false
}

/// A program of others that no distribution's package has, so that CI cannot
/// have it either: the path in the environment variable `name`, or a word that
/// it is not there.
pub(crate) fn brought_along(name: &str, what: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name).map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED: {name} does not name {what}");
    }
    path
}

/// Runs a program that must succeed, and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        both(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard output and error of a program, for messages.
pub(crate) fn both(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The program under test.
pub(crate) fn freezedry() -> Command {
    Command::new(env!("CARGO_BIN_EXE_freezedry"))
}

/// A directory that is kept from one run of the tests to the next.
pub(crate) fn cache() -> PathBuf {
    let cache = std::env::var_os("FREEZEDRY_TEST_CACHE").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        PathBuf::from,
    );
    std::fs::create_dir_all(&cache).unwrap();
    cache
}

/// The root made by `tests/rpm-world/make-rpm-world`, if there is one.
pub(crate) fn rpm_world() -> Option<PathBuf> {
    let world = std::env::var_os("FREEZEDRY_RPM_WORLD").map(PathBuf::from);
    if world.is_none() {
        skip("FREEZEDRY_RPM_WORLD does not name a root made by tests/rpm-world/make-rpm-world");
    }
    world
}

/// A path in the source tree.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files in a folder of the source tree with this extension, sorted.
pub(crate) fn named(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = source(folder).read_dir().unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|other| other == extension));
    paths.sort();
    paths
}

/// Compares with a file that is checked in, or writes it with `BLESS=1`.
pub(crate) fn compare(path: &Path, text: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, text).unwrap();
    } else if std::fs::read_to_string(path).ok().as_deref() != Some(text) {
        wrong.push(format!("{} should be:\n{text}", path.display()));
    }
}
