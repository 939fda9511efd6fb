//! Freezedry itself as packages: built from vendored sources without network,
//! linted, installed, used and removed.

use crate::packages::{Root, copy_of, debian};
use crate::support::lint::{lintian_finds_nothing, rpmlint_finds_nothing};
use crate::support::own_packages::{debs, here, rpms, version};
use crate::support::{require, require_root, rpm_world};
use std::collections::BTreeSet;
use std::path::PathBuf;

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
    lintian_finds_nothing(std::slice::from_ref(changes));

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
    let spec = here().join("specs/freezedry.spec");
    rpmlint_finds_nothing(&[&built[..], &[spec]].concat());

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
