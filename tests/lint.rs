//! What the distributions' linters say of packages of every format.

use crate::check::readme_description;
use crate::examples::folders;
use crate::source_packages::{greeter, names};
use crate::support::appliance::yaml;
use crate::support::lint::{lintian, lintian_finds_nothing, rpmlint, rpmlint_finds_nothing};
use crate::support::{both, freezedry, require, run, source};
use std::path::{Path, PathBuf};

/// Packages of several descriptions, for the linters to look at all at once: each
/// start of one takes longer than a package.
#[derive(Default)]
struct Made {
    debian: Vec<PathBuf>,
    rpm: Vec<PathBuf>,
}

impl Made {
    /// Packages `description` in every format.
    fn add(&mut self, description: &Path, out: &Path) {
        let package = |options: &[&str], out: &Path| {
            let mut package = freezedry();
            package.arg("package").args(options).arg("-o").arg(out);
            run(package.arg(description));
            names(out).into_iter().map(|name| out.join(name)).collect()
        };
        let formats = ["--changes", "--format=deb,rpm,dsc,srpm"];
        let all: Vec<PathBuf> = package(&formats, out);
        let obs: Vec<PathBuf> = package(&["--format=obs"], &out.join("obs"));
        let with = |files: &[PathBuf], extension: &str| {
            let mut files = files.to_vec();
            files.retain(|path| path.extension().is_some_and(|own| own == extension));
            assert!(!files.is_empty(), "{extension}");
            files
        };
        // The .changes leads to the .deb.
        self.debian.extend(with(&all, "changes"));
        self.debian.extend(with(&all, "dsc"));
        self.rpm.extend(with(&all, "rpm"));
        self.rpm.extend(with(&obs, "spec"));
        // What OBS gets for Debian is looked at already.
        for path in with(&obs, "dsc") {
            let other = out.join(path.file_name().unwrap());
            assert!(std::fs::read(&path).unwrap() == std::fs::read(other).unwrap());
        }
    }
}

#[test]
fn linters_find_nothing_in_any_example() {
    if !require(&["lintian", "rpmlint"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut made = Made::default();
    let demo = source("a-fedora-appliance");
    for folder in folders().iter().chain([&demo]) {
        let out = dir.path().join(folder.file_name().unwrap());
        made.add(&folder.join("appliance.yaml"), &out);
        for path in names(&out).iter().map(|name| out.join(name)) {
            // The demo is a whole distribution.
            let size = path.metadata().unwrap().len();
            assert!(size <= 20 << 10 || *folder == demo, "{path:?}: {size}");
        }
    }
    assert!(made.debian.len() >= 2 * 11);
    lintian_finds_nothing(&made.debian);
    rpmlint_finds_nothing(&made.rpm);
}

/// Everything that a package can have, and both engines.
#[test]
fn linters_find_nothing_in_an_appliance_with_everything() {
    if !require(&["lintian", "rpmlint"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut made = Made::default();
    for engine in ["freezedry", "supermin"] {
        let here = dir.path().join(engine);
        made.add(&greeter(&here, engine), &here.join("out"));
    }
    lintian_finds_nothing(&made.debian);
    rpmlint_finds_nothing(&made.rpm);
}

/// What the README shows, and what `freezedry new` writes.
#[test]
fn linters_find_nothing_in_what_one_starts_with() {
    if !require(&["lintian", "rpmlint"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().join("box.yaml");
    std::fs::write(&shown, readme_description()).unwrap();
    let new = dir.path().join("mine");
    run(freezedry().args(["new", "mine", "-o"]).arg(&new));
    let mut made = Made::default();
    made.add(&shown, &dir.path().join("out-box"));
    made.add(&new.join("appliance.yaml"), &dir.path().join("out-mine"));
    lintian_finds_nothing(&made.debian);
    rpmlint_finds_nothing(&made.rpm);
}

/// So that their silence means something.
#[test]
fn what_is_wrong_is_found_in_every_format() {
    if !require(&["lintian", "rpmlint"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let description = dir.path().join("wrong.yaml");
    // A name that is not for applications, and is in the summary again.
    let text = yaml("python-wrong", "packages: [bash]\n");
    let text = text.replace("summary: An appliance", "summary: A python-wrong");
    std::fs::write(&description, text).unwrap();
    let mut made = Made::default();
    made.add(&description, &dir.path().join("out"));
    for path in &made.debian {
        let output = lintian(std::slice::from_ref(path));
        let said = both(&output);
        let of_source = said.contains(" source: python-foo-but-no-python3-foo");
        let of_binary = said.contains(": description-synopsis-starts-with-article");
        assert!(of_source || of_binary, "{path:?}: {said}");
        assert_eq!(output.status.code(), Some(2), "{path:?}: {said}");
    }
    for path in &made.rpm {
        if path.extension().is_some_and(|own| own == "spec") {
            // Of a spec file nothing but its form is looked at.
            let spec = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, spec.replace("%autosetup", "%setup")).unwrap();
        }
        let said = both(&rpmlint(std::slice::from_ref(path)));
        let of_package = said.contains(": name-repeated-in-summary python-wrong");
        let of_spec = said.contains(": setup-not-quiet");
        assert!(of_package || of_spec, "{path:?}: {said}");
    }
}
