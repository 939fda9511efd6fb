//! Freezedry itself as packages: built from vendored sources without network,
//! linted, installed, used and removed.

use crate::packages::{Root, copy_of, debian};
use crate::support::own_packages::{debs, here, rpms, version};
use crate::support::{both, require, require_root, rpm_world, run};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// What linters may say of both.
const LINTIAN: [&str; 1] = [
    // There is no request for packaging that it could close.
    "initial-upload-closes-no-bugs",
];
const RPMLINT: [&str; 11] = [
    "no-signature",                    // signing is the packager's
    "no-packager-tag",                 // the build system says who that is
    "no-group-tag",                    // groups are long gone from Fedora and openSUSE
    "no-buildroot-tag",                // so are these: rpm chooses it since 4.6
    "no-url-tag",                      // there is no home page yet
    "invalid-url",                     // nor a place to download the tarballs from
    "incoherent-version-in-changelog", // as Fedora has it: without `.fc40`
    "dangling-relative-symlink",       // it leads to the package that this one requires
    "invalid-license",                 // its list of licences is empty on Debian
    "manpage-not-compressed",          // it is, with gzip as on Fedora, not bzip2
    "no-manual-page-for-binary",       // there is one, beside the one it did not recognise
];

/// Fails if a line of a linter has a tag that is not in the list.
fn only_allowed<'a>(said: &'a str, allowed: &[&str], tag: impl Fn(&'a str) -> Option<&'a str>) {
    // The manual page comes with the command that prints it.
    let manual = Command::new(env!("CARGO_BIN_EXE_freezedry"))
        .args(["man", "--help"])
        .output()
        .unwrap();
    for line in said.lines() {
        let Some(tag) = tag(line) else { continue };
        let excused = !manual.status.success() && tag.starts_with("no-manual-page");
        assert!(allowed.contains(&tag) || excused, "{said}");
    }
}

/// Uses the program that is installed in `root` for what it is for.
fn use_it(root: &Root) {
    let said = root.must(&["freezedry", "--version"]);
    assert_eq!(said, format!("freezedry {}\n", version()));
    let script = "cd /var/tmp && printf '%s\\n' 'name: box' 'version: \"1\"' 'summary: A box' 'license: MIT' \
        'maintainer: A <a@example.org>' 'packages: [bash, coreutils]' 'boot: {init: \"true\"}' >box.yaml && \
        freezedry package box.yaml -o out && freezedry inspect out/* && \
        freezedry prepare box.yaml -o box.d && freezedry rehydrate box.d -o box && freezedry inspect box && \
        rm -r box box.d box.yaml out";
    let said = root.must(&["sh", "-ec", script]);
    assert!(said.contains("package       box 1-1 ("), "{said}");
    assert!(said.contains("appliance     box\n"), "{said}");
    // The other names lead to it.
    let said = root.must(&[
        "readlink",
        "-f",
        "/usr/bin/supermin",
        "/usr/bin/supermin-helper",
    ]);
    assert_eq!(said, "/usr/bin/freezedry\n/usr/bin/freezedry\n");
    root.must(&["supermin", "--version"]);
}

fn with_extension<'a>(paths: &'a [PathBuf], extension: &str) -> Vec<&'a PathBuf> {
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

#[test]
fn debian_packages_are_built_linted_installed_used_and_removed() {
    let tools = ["dpkg-buildpackage", "dh", "lintian", "unshare", "rustc"];
    if !require(&tools) || !require_root() {
        return;
    }
    let Some(debian) = debian() else { return };
    let built = debs();
    let [changes] = with_extension(&built, "changes")[..] else {
        panic!("{built:?}");
    };
    let said = run(Command::new("lintian")
        .args(["--pedantic", "--allow-root"])
        .arg(changes));
    only_allowed(&said, &LINTIAN, |line| {
        let (_, rest) = line.split_once(": ")?;
        rest.split_whitespace().nth(1)
    });

    let root = copy_of(&debian, "self-apt");
    let apt = ["apt-get", "-q", "-y", "--no-install-recommends"];
    root.must(&["apt-get", "-q", "update"]);
    root.must(&[&apt[..], &["install", "supermin", "libgcc-s1"]].concat());
    let before = root.paths();
    let inside: Vec<String> = with_extension(&built, "deb")
        .into_iter()
        .map(|path| root.put(path))
        .collect();
    let mut install = [&apt[..], &["install"]].concat();
    install.extend(inside.iter().map(String::as_str));
    // It takes the place of the distribution's own ...
    let said = root.must(&install);
    assert!(said.contains("REMOVED:\n  supermin\n"), "{said}");
    use_it(&root);
    // ... and gives it back.
    root.must(&[&apt[..], &["install", "supermin"]].concat());
    assert_eq!(
        root.must(&["readlink", "-f", "/usr/bin/supermin"]),
        "/usr/bin/supermin\n"
    );
    root.must(&[&apt[..], &["purge", "freezedry"]].concat());
    no_trace(&before, &root.paths());
}

#[test]
fn rpm_packages_are_built_linted_installed_used_and_removed() {
    if !require(&["rpmlint", "unshare", "rustc", "gcc"]) || !require_root() {
        return;
    }
    let Some(world) = rpm_world() else { return };
    let built = rpms(&world);
    let said = Command::new("rpmlint")
        .args(&built)
        .arg(here().join("specs/freezedry.spec"))
        .output()
        .unwrap();
    assert!(!said.stdout.is_empty(), "{}", both(&said));
    only_allowed(&String::from_utf8_lossy(&said.stdout), &RPMLINT, |line| {
        let (_, rest) = line
            .split_once(": W: ")
            .or_else(|| line.split_once(": E: "))?;
        rest.split_whitespace().next()
    });

    let root = copy_of(&world, "self-dnf");
    let before = root.paths();
    let dnf = ["dnf", "-q", "-y", "--setopt=install_weak_deps=False"];
    let inside: Vec<String> = built
        .iter()
        .filter(|path| !path.display().to_string().ends_with(".src.rpm"))
        .map(|path| root.put(path))
        .collect();
    let mut install = [&dnf[..], &["install"]].concat();
    install.extend(inside.iter().map(String::as_str));
    root.must(&install);
    root.must(&["rpm", "-V", "freezedry", "freezedry-supermin"]);
    use_it(&root);
    root.must(&[&dnf[..], &["remove", "freezedry-supermin", "freezedry"]].concat());
    no_trace(&before, &root.paths());
}

fn no_trace(before: &BTreeSet<String>, after: &BTreeSet<String>) {
    assert_eq!(
        after.difference(before).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}
