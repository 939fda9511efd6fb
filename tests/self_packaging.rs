//! Freezedry itself as packages: built from vendored sources without network,
//! linted, installed, used and removed.

use crate::packages::{Root, copy_of, debian};
use crate::support::lint::{lintian_finds_nothing, rpmlint_finds_nothing};
use crate::support::own_packages::{DEBS, here, rpms, version};
use crate::support::{both, require, require_root, rpm_world};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

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
    // The licences of the crates that are in it; Debian compresses what is long.
    let notices =
        "cat /usr/share/licenses/freezedry*/NOTICES || zcat /usr/share/doc/freezedry/NOTICES.gz";
    let said = root.must(&["sh", "-c", notices]);
    assert!(said.contains("\nzstd-sys-"), "{said}");
    assert!(said.contains("Copyright (c) Meta Platforms"), "{said}");
}

fn with_extension<'a>(paths: &'a [PathBuf], extension: &str) -> Vec<&'a PathBuf> {
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

const APT: [&str; 4] = ["apt-get", "-q", "-y", "--no-install-recommends"];

/// Puts packages into the root; their paths inside.
fn put(root: &Root, packages: &[&PathBuf]) -> Vec<String> {
    packages.iter().map(|path| root.put(path)).collect()
}

fn words<'a>(program: &[&'a str], arguments: &'a [String]) -> Vec<&'a str> {
    let arguments = arguments.iter().map(String::as_str);
    program.iter().copied().chain(arguments).collect()
}

#[test]
fn debian_packages_are_built_linted_installed_used_and_removed() {
    let tools = ["dpkg-buildpackage", "dh", "lintian", "unshare", "rustc"];
    if !require(&tools) || !require_root() {
        return;
    }
    let Some(debian) = debian() else { return };
    let [changes] = with_extension(&DEBS, "changes")[..] else {
        panic!("{:?}", *DEBS);
    };
    // What is meant is in its overrides, each with its reason.
    lintian_finds_nothing(std::slice::from_ref(changes));

    let root = copy_of(&debian, "self-apt");
    root.must(&["apt-get", "-q", "update"]);
    root.must(&[&APT[..], &["install", "supermin", "libgcc-s1"]].concat());
    let before = root.paths();
    let inside = put(&root, &with_extension(&DEBS, "deb"));
    // It goes beside the distribution's own ...
    root.must(&words(&[&APT[..], &["install"]].concat(), &inside));
    root.must(&["dpkg", "-s", "supermin"]);
    use_it(&root);
    // ... and in its place, for whoever depends on it ...
    root.must(&[&APT[..], &["remove", "supermin"]].concat());
    let simulated = root.must(&["apt-get", "-s", "install", "libguestfs0"]);
    assert!(simulated.contains("\nInst libguestfs0 "), "{simulated}");
    assert!(!simulated.contains("\nInst supermin "), "{simulated}");
    use_it(&root);
    // ... and gives it back.
    root.must(&[&APT[..], &["install", "supermin"]].concat());
    root.must(&[&APT[..], &["purge", "freezedry"]].concat());
    assert_eq!(supermin(&root), "theirs");
    no_trace(&before, &root.paths());
}

/// Whose program answers to the name.
fn supermin(root: &Root) -> &'static str {
    let said = root.run(&["supermin", "--version"]);
    match String::from_utf8_lossy(&said.stdout).as_ref() {
        "" => "nobody",
        said if said.contains("Freezedry") => "ours",
        _ => "theirs",
    }
}

/// A package like the one at `path` in the root, of a later version.
fn later_deb(root: &Root, path: &str) -> String {
    let later = path.replace(".deb", "-later.deb");
    let script = "rm -rf /var/tmp/x && dpkg-deb -R $0 /var/tmp/x \
         && sed -i 's/^Version: .*/&.later/' /var/tmp/x/DEBIAN/control && dpkg-deb -b /var/tmp/x $1";
    root.must(&["sh", "-c", script, path, &later]);
    later
}

/// An administrator's diversion of the same file.
const DIVERTED: &str = "
dpkg-divert --local --rename --divert /usr/bin/supermin.real --add /usr/bin/supermin
dpkg -i $0 2>&1 | grep 'supermin is diverted by another'
dpkg-divert --local --rename --remove /usr/bin/supermin";

/// A file of no package where the distribution's is to go.
const IN_THE_WAY: &str = "
touch /usr/bin/supermin.distrib
dpkg -i $0 2>&1 | grep 'supermin.distrib is in the way'
rm /usr/bin/supermin.distrib";

/// An administrator's alternatives of the name, with the link at another place.
const LINKED_ELSEWHERE: &str = "
install -D /bin/true /usr/local/bin/supermin
update-alternatives --install /usr/local/sbin/supermin supermin /usr/local/bin/supermin 90
dpkg -i $0 2>&1 | grep 'have their link at /usr/local/sbin/supermin'
[ $(readlink -e /usr/local/sbin/supermin) = /usr/local/bin/supermin ]
update-alternatives --remove-all supermin
rm /usr/local/bin/supermin";

/// An administrator's alternatives of the name, where ours go.
const OWN_ALTERNATIVE: &str = "
install -D /bin/true /usr/local/bin/supermin
update-alternatives --install /usr/bin/supermin supermin /usr/local/bin/supermin 40
leads_to() { [ $(readlink -e /usr/bin/supermin) = $1 ]; }
dpkg -i $0
leads_to /usr/bin/freezedry
dpkg -i $1
update-alternatives --set supermin /usr/local/bin/supermin
dpkg -r supermin
leads_to /usr/local/bin/supermin
dpkg -P freezedry-supermin
leads_to /usr/local/bin/supermin
dpkg -i $1 $0
update-alternatives --auto supermin
leads_to /usr/bin/freezedry
dpkg -P freezedry-supermin
dpkg -V supermin
update-alternatives --query supermin | grep '^Value: /usr/local/bin/supermin$'
dpkg -P supermin
update-alternatives --remove-all supermin
rm /usr/local/bin/supermin";

/// The distribution's supermin and ours, in every order of coming and going.
#[test]
fn on_debian_supermin_is_an_alternative() {
    if !require(&["dpkg-buildpackage", "dh", "unshare", "rustc"]) || !require_root() {
        return;
    }
    let Some(debian) = debian() else { return };
    let root = copy_of(&debian, "self-alternative");
    // All that both need stays.
    let fetch = "apt-get -q update && apt-get -q -y install libgcc-s1 supermin && dpkg -P supermin \
         && cd /var/tmp && apt-get -q download supermin && mv supermin_*.deb supermin.deb";
    root.must(&["sh", "-ec", fetch]);
    let theirs = "/var/tmp/supermin.deb";
    let built = put(&root, &with_extension(&DEBS, "deb"));
    let [freezedry, ours] = &["/freezedry_", "/freezedry-supermin_"]
        .map(|name| built.iter().find(|path| path.contains(name)).unwrap());
    let (ours_later, theirs_later) = (later_deb(&root, ours), later_deb(&root, theirs));
    root.must(&["dpkg", "-i", freezedry]);
    let before = root.paths();
    let choose = ["update-alternatives", "--set", "supermin"];
    // A package that cannot be unpacked: apt has the file, too.
    let broken = "dpkg-deb -R $0 /var/tmp/b && touch /var/tmp/b/usr/bin/apt \
         && dpkg-deb -b /var/tmp/b /var/tmp/broken.deb && ! dpkg -i /var/tmp/broken.deb";
    let steps: [(&[&str], &str); 21] = [
        (&["dpkg", "-i", theirs], "theirs"),
        (&["sh", "-c", broken, ours], "theirs"),
        // Where it is refused, nothing is left of it.
        (&["sh", "-ec", DIVERTED, ours], "theirs"),
        (&["sh", "-ec", IN_THE_WAY, ours], "theirs"),
        (&["sh", "-ec", LINKED_ELSEWHERE, ours], "theirs"),
        (&["dpkg", "-i", ours], "ours"),
        (&["sh", "-c", "! dpkg -i /var/tmp/broken.deb"], "ours"),
        // A choice outlives upgrades.
        (
            &[&choose[..], &["/usr/bin/supermin.distrib"]].concat(),
            "theirs",
        ),
        (&["dpkg", "-i", &ours_later], "theirs"),
        (&["dpkg", "-i", &theirs_later], "theirs"),
        (
            &[&choose[..], &["/usr/libexec/freezedry/supermin"]].concat(),
            "ours",
        ),
        (&["dpkg", "-i", theirs], "ours"),
        (
            &[&choose[..], &["/usr/bin/supermin.distrib"]].concat(),
            "theirs",
        ),
        (&["dpkg", "-r", "supermin"], "ours"),
        (&["dpkg", "-i", theirs], "ours"),
        (&["dpkg", "-P", "freezedry-supermin"], "theirs"),
        (&["dpkg", "-r", "supermin"], "nobody"),
        (&["dpkg", "-i", ours], "ours"),
        (&["dpkg", "-i", theirs], "ours"),
        (&["dpkg", "-r", "freezedry-supermin"], "theirs"),
        (&["dpkg", "-i", ours, theirs], "ours"),
    ];
    for (step, (command, answer)) in steps.into_iter().enumerate() {
        let said = root.must(command);
        let step = format!("step {step}, {command:?}: {said}");
        assert_eq!(supermin(&root), answer, "{step}");
        sound(&root, answer, &step);
    }
    root.must(&["dpkg", "-P", "freezedry-supermin", "supermin"]);
    sound(&root, "nobody", "purge");
    // An administrator's own alternative stays, whatever comes and goes beside it.
    root.must(&["sh", "-ec", OWN_ALTERNATIVE, ours, theirs]);
    sound(&root, "nobody", "own alternative");
    no_trace(&before, &root.paths());
}

/// dpkg finds every file as it was packed, and diversions and alternatives only
/// where our package is.
fn sound(root: &Root, answer: &str, step: &str) {
    let installed = |package: &str| {
        let said = root.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", package]);
        said.stdout == b"installed"
    };
    assert_eq!(root.must(&["dpkg", "--audit"]), "", "{step}");
    let diverted = root.must(&["dpkg-divert", "--list", "*supermin*"]);
    let choices = root.run(&["update-alternatives", "--list", "supermin"]);
    let choices = String::from_utf8_lossy(&choices.stdout).into_owned();
    if installed("freezedry-supermin") {
        assert_eq!(
            root.must(&["dpkg", "-V", "freezedry-supermin"]),
            "",
            "{step}"
        );
        assert_eq!(diverted.lines().count(), 2, "{step}");
        let mut expected = String::new();
        if installed("supermin") {
            writeln!(expected, "/usr/bin/supermin.distrib").unwrap();
            // `dpkg -V` of Debian 12 does not look where a file is diverted to.
            let sums = "cd / && sed -e 's|bin/supermin$|&.distrib|' -e 's|supermin\\.1|supermin.distrib.1|' \
                 /var/lib/dpkg/info/supermin.md5sums | md5sum --quiet -c";
            root.must(&["sh", "-c", sums]);
        }
        writeln!(expected, "/usr/libexec/freezedry/supermin").unwrap();
        assert_eq!(choices, expected, "{step}");
    } else {
        assert_eq!((diverted, choices), Default::default(), "{step}");
        if installed("supermin") {
            assert_eq!(root.must(&["dpkg", "-V", "supermin"]), "", "{step}");
        }
    }
    let page = match (answer, installed("freezedry-supermin")) {
        ("nobody", _) => return,
        ("ours", _) => "supermin.freezedry.1.gz",
        (_, true) => "supermin.distrib.1.gz",
        (_, false) => "supermin.1.gz",
    };
    let manual = root.must(&["readlink", "-e", "/usr/share/man/man1/supermin.1.gz"]);
    assert!(manual.ends_with(&format!("/{page}\n")), "{step}: {manual}");
}

/// What the RPM world lacks, packed out of Debian's programs: update-alternatives,
/// which is openSUSE's too, and a supermin that is a plain file.
const THEIRS: &str = "Name: supermin
Version: 5
Release: 1
Summary: supermin as a plain file
License: GPL-2.0-or-later
%description
%{summary}.
%package -n update-alternatives
Summary: The program of that name
%description -n update-alternatives
%{summary}.
%install
install -D -t %{buildroot}/usr/bin /var/tmp/supermin
install -D -t %{buildroot}/usr/sbin /var/tmp/update-alternatives
mkdir -p %{buildroot}/etc/alternatives %{buildroot}/var/lib/dpkg/alternatives
%files
/usr/bin/supermin
%files -n update-alternatives
/usr/sbin/update-alternatives
%dir /etc/alternatives
%dir /var/lib/dpkg
%dir /var/lib/dpkg/alternatives
";

#[test]
fn rpm_packages_are_built_linted_installed_used_and_removed() {
    let tools = [
        "rpmlint",
        "unshare",
        "rustc",
        "gcc",
        "supermin",
        "update-alternatives",
    ];
    if !require(&tools) || !require_root() {
        return;
    }
    let Some(world) = rpm_world() else { return };
    let built = rpms(&world);
    let spec = here().join("specs/freezedry.spec");
    rpmlint_finds_nothing(&[&built[..], &[spec]].concat());

    let root = copy_of(&world, "self-dnf");
    let binary = |path: &&PathBuf| !path.display().to_string().ends_with(".src.rpm");
    let inside = put(&root, &built.iter().filter(binary).collect::<Vec<_>>());
    for program in ["supermin", "update-alternatives"] {
        root.put(&Path::new("/usr/bin").join(program));
    }
    std::fs::write(root.path.join("var/tmp/theirs.spec"), THEIRS).unwrap();
    let build = "rpmbuild --quiet -bb --define '_rpmdir /var/tmp' --define '_rpmfilename %%{NAME}.rpm' \
         /var/tmp/theirs.spec";
    root.must(&["sh", "-c", build]);
    root.must(&dnf(&["install", "/var/tmp/update-alternatives.rpm"]));
    let before = root.paths();

    // rpm has no diversions: one takes the place of the other.
    root.must(&dnf(&["install", "/var/tmp/supermin.rpm"]));
    let refused = root.run(&words(&dnf(&["install"]), &inside));
    assert!(
        both(&refused).contains("conflicts with supermin"),
        "{}",
        both(&refused)
    );
    root.must(&words(&dnf(&["install", "--allowerasing"]), &inside));
    let verify = ["rpm", "-V", "freezedry", "freezedry-supermin"];
    root.must(&verify);
    use_it(&root);
    // One that no package has is an alternative.
    root.must(&["install", "-D", "-t", "/usr/local/bin", "/var/tmp/supermin"]);
    let link = "update-alternatives --install /usr/bin/supermin supermin /usr/local/bin/supermin";
    root.must(&["sh", "-c", &format!("{link} 50")]);
    assert_eq!(named(&root), "/usr/bin/freezedry\n");
    root.must(&["sh", "-c", &format!("{link} 70")]);
    assert_eq!(named(&root), "/usr/local/bin/supermin\n");
    let upgrade = ["rpm", "-U", "--replacepkgs", "--replacefiles"];
    root.must(&words(&upgrade, &inside));
    assert_eq!(named(&root), "/usr/local/bin/supermin\n");
    root.must(&[
        "update-alternatives",
        "--remove",
        "supermin",
        "/usr/local/bin/supermin",
    ]);
    root.must(&["rm", "/usr/local/bin/supermin"]);
    assert_eq!(supermin(&root), "ours");
    root.must(&verify);
    root.must(&dnf(&[
        "swap",
        "freezedry-supermin",
        "/var/tmp/supermin.rpm",
    ]));
    root.must(&["rpm", "-V", "supermin"]);
    assert_eq!(supermin(&root), "theirs");
    root.must(&dnf(&["remove", "supermin"]));
    root.must(&words(&dnf(&["install"]), &inside));
    assert_eq!(supermin(&root), "ours");
    root.must(&dnf(&["remove", "freezedry-supermin", "freezedry"]));
    no_trace(&before, &root.paths());
}

fn dnf<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let dnf = ["dnf", "-q", "-y", "--setopt=install_weak_deps=False"];
    [&dnf[..], arguments].concat()
}

/// The program that the name leads to.
fn named(root: &Root) -> String {
    root.must(&["readlink", "-e", "/usr/bin/supermin"])
}

fn no_trace(before: &BTreeSet<String>, after: &BTreeSet<String>) {
    assert_eq!(
        after.difference(before).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}
