//! Source packages built with the distributions' own tools, without network, and
//! booted.

use crate::packages::{Root, copy_of, debian, freezedry_rpm};
use crate::source_packages::greeter;
use crate::support::{both, brought_along, require, require_root, rpm_world, run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tags in which our binary RPM may differ from the one that rpmbuild makes of
/// our spec file, with the reason.
const EXPECTED_DIFFERENCES: [(&str, &str); 21] = [
    ("Buildhost", "ours is no machine's name"),
    ("Platform", "the machine that builds, in another spelling"),
    ("Optflags", "flags for compilers, of which there is none"),
    ("Rpmversion", "the program that writes"),
    (
        "Packager",
        "on Fedora no spec file may have it; build systems set it",
    ),
    (
        "Classdict",
        "libmagic's words on the files, for dependency generators",
    ),
    ("Fileclass", "indexes into Classdict"),
    (
        "Filecolors",
        "all zero: 32 or 64 bits, of which scripts have none",
    ),
    ("Dependsdict", "which file /bin/sh was found in"),
    ("Filedependsn", "indexes into Dependsdict"),
    ("Filedependsx", "indexes into Dependsdict"),
    ("Payloaddigest", "xz by another version of the library"),
    ("Archivesize", "not in the header: in that of the signature"),
    (
        "Filedevices",
        "which of two file systems a ghost, which is in none, would be on",
    ),
    ("Sigsize", "follows from the size of the header"),
    ("Sigmd5", "MD5, which newer tags have replaced"),
    ("Sha1header", "follows from the header"),
    ("Sha256header", "follows from the header"),
    // From here on only where stock supermin makes the skeleton.
    (
        "Filedigests",
        "its base.tar.gz has edited files and what is excluded later",
    ),
    ("Filesizes", "follows from base.tar.gz"),
    ("Size", "follows from base.tar.gz"),
];

/// What stock supermin writes in its own way, beside base.tar.gz itself.
const OF_SUPERMIN: [&str; 1] = ["Payloaddigestalt"];

/// rpm as Fedora configures it, where Debian's default differs; and one time
/// for all, which Fedora takes from the changelog's day.
const AS_FEDORA: [&str; 6] = [
    "_docdir_fmt %%{NAME}",
    "dist %{nil}",
    "clamp_mtime_to_source_date_epoch 1",
    "use_source_date_epoch_as_buildtime 1",
    "_binary_payload w6.xzdio",
    "_topdir /var/tmp/rpmbuild",
];
const TIME: &str = "1795392000";

/// The RPM world with a repository of its own at /var/tmp/extra, out of `rpms`,
/// which are installed too.
fn world_with(name: &str, rpms: &[PathBuf]) -> Option<Root> {
    let world = rpm_world()?;
    let root = copy_of(&world, name);
    std::fs::create_dir_all(root.path.join("var/tmp/extra")).unwrap();
    for rpm in rpms {
        let to = root
            .path
            .join("var/tmp/extra")
            .join(rpm.file_name().unwrap());
        std::fs::copy(rpm, to).unwrap();
    }
    let install = "createrepo_c -q /var/tmp/extra && dnf -q -y install /var/tmp/extra/*.rpm";
    offline(&root, "/", install);
    Some(root)
}

/// Runs a shell script in `folder` of the root, without network.
fn offline(root: &Root, folder: &str, script: &str) -> String {
    let script = format!("cd {folder} && {script}");
    root.must(&["unshare", "-n", "sh", "-e", "-c", &script])
}

/// rpmbuild and obs-build make packages that are as ours, and work.
fn rpm_tools(root: &Root, engine: &str, allowed: &[&str]) {
    let folder = root.path.join("var/tmp/greeter");
    greeter(&folder, engine);
    let define = AS_FEDORA
        .map(|macro_| format!("--define '{macro_}'"))
        .join(" ");
    offline(
        root,
        "/var/tmp/greeter",
        &format!(
            "export SOURCE_DATE_EPOCH={TIME}
             freezedry package --format rpm,srpm -o out greeter.yaml
             rpmbuild {define} --rebuild out/*.src.rpm
             rpm -qp --xml out/*.noarch.rpm >ours.xml
             rpm -qp --xml /var/tmp/rpmbuild/RPMS/noarch/*.rpm >theirs.xml"
        ),
    );
    let tags = |name: &str| tags(&std::fs::read_to_string(folder.join(name)).unwrap());
    let (ours, theirs) = (tags("ours.xml"), tags("theirs.xml"));
    assert!(
        ours.len() > 40 && ours["Name"].contains("greeter"),
        "{ours:?}"
    );
    for tag in ours.keys().chain(theirs.keys()) {
        assert!(
            ours.get(tag) == theirs.get(tag) || allowed.contains(&tag.as_str()),
            "{tag}: ours is {:?}, theirs {:?}",
            ours.get(tag),
            theirs.get(tag)
        );
    }
    offline(
        root,
        "/var/tmp/greeter",
        "freezedry package --format obs -o obs greeter.yaml
         obs-build --root /var/tmp/build-root --clean --changelog --arch x86_64 --repo /srv/rpm-world \
             --repo /var/tmp/extra --dist /srv/rpm-world/obs-build.conf obs/greeter.spec
         dnf -q -y install /var/tmp/build-root/home/abuild/rpmbuild/RPMS/noarch/*.rpm",
    );
    // OBS puts the changelog in.
    assert!(
        root.must(&["rpm", "-q", "--changelog", "greeter"])
            .contains("- Greet 100% of the time")
    );
    let output = root.run(&["boot-greeter", "--accel", "tcg"]);
    assert_eq!(output.stdout, b"100% welcome\n", "{}", both(&output));
}

/// The tags of `rpm -qp --xml`.
fn tags(xml: &str) -> BTreeMap<String, String> {
    let parts = xml.split("<rpmTag name=\"").skip(1);
    parts
        .map(|part| {
            let (name, rest) = part.split_once("\">").unwrap();
            let (value, _) = rest.split_once("</rpmTag>").unwrap();
            (
                name.to_owned(),
                value.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .collect()
}

#[test]
fn rpmbuild_and_obs_build_make_the_package_and_it_boots() {
    if !require(&["rpmbuild"]) || !require_root() || rpm_world().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = world_with("source-root", &[freezedry_rpm(dir.path())]).unwrap();
    let allowed = EXPECTED_DIFFERENCES.map(|(tag, _)| tag);
    rpm_tools(&root, "freezedry", &allowed[..18]);
}

/// Debian's supermin cannot read RPM's database; one that can has to be brought.
#[test]
fn stock_supermin_builds_the_source_rpm() {
    if !require(&["rpmbuild"]) || !require_root() || rpm_world().is_none() {
        return;
    }
    let Some(supermin) = brought_along(
        "FREEZEDRY_SUPERMIN_RPM",
        "an RPM of supermin with its RPM drivers",
    ) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let rpms = [freezedry_rpm(dir.path()), supermin];
    let root = world_with("source-supermin-root", &rpms).unwrap();
    let allowed = EXPECTED_DIFFERENCES.map(|(tag, _)| tag);
    rpm_tools(&root, "supermin", &[&allowed[..], &OF_SUPERMIN].concat());
}

/// The program under test as a Debian package, for those that depend on it.
pub(crate) fn freezedry_deb(dir: &Path) -> PathBuf {
    let tree = dir.join("deb");
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(tree.join("usr/bin")).unwrap();
    let control = "Package: freezedry\nVersion: 0\nArchitecture: amd64\n\
        Maintainer: Jane Doe <jane@example.org>\nDescription: Freezedry under test\n";
    std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
    std::fs::copy(
        env!("CARGO_BIN_EXE_freezedry"),
        tree.join("usr/bin/freezedry"),
    )
    .unwrap();
    let deb = dir.join("freezedry.deb");
    run(Command::new("dpkg-deb")
        .args(["--build", "-Znone"])
        .arg(tree)
        .arg(&deb));
    deb
}

const APT: &str = "apt-get -q -y --no-install-recommends";

/// The package as dpkg-buildpackage makes it, by a user who is not root, and as
/// we make it, with everything that can be seen of both.
fn dpkg_tools(root: &Root, engine: &str) {
    let folder = root.path.join("var/tmp/build").join(engine);
    greeter(&folder, engine);
    let see =
        "dpkg-deb -f *.deb >control; dpkg-deb -c *.deb >list; dpkg-deb -x *.deb tree; rm *.deb";
    let source = "freezedry package --format dsc -o theirs greeter.yaml";
    let build = format!(
        "freezedry package --format deb -o ours greeter.yaml
         dpkg-source -x theirs/*.dsc theirs/source
         (cd theirs/source && dpkg-buildpackage -us -uc)
         cp theirs/*.deb built.deb
         (cd theirs && rm -rf source && {see}) && (cd ours && {see})"
    );
    let place = format!("/var/tmp/build/{engine}");
    let by_nobody = |script: &str| {
        let script = format!("chown -R nobody . && runuser -u nobody -- sh -ec '{script}'");
        offline(root, &place, &script);
    };
    by_nobody(source);
    // As sbuild does it: nothing is there that the source does not ask for.
    let dependencies = format!("{APT} build-dep {place}/theirs/*.dsc");
    root.must(&["sh", "-e", "-c", &dependencies]);
    by_nobody(&build);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    // Stock supermin makes its own base.tar.gz, whose size shows in these.
    let comparable = |text: &str| -> Vec<String> {
        let own = ["Installed-Size:", "/base.tar.gz"];
        let lines = text
            .lines()
            .filter(|line| engine == "freezedry" || !own.iter().any(|own| line.contains(own)));
        lines.map(str::to_owned).collect()
    };
    assert!(read("ours/control").contains("Breaks: old-greeter (<< 2), other-greeter (<< 3)\n"));
    for name in ["control", "list"] {
        let [ours, theirs] =
            ["ours", "theirs"].map(|whose| comparable(&read(&format!("{whose}/{name}"))));
        assert_eq!(ours, theirs, "{name}");
    }
    let mut diff = Command::new("diff");
    diff.arg("-r")
        .args([folder.join("ours/tree"), folder.join("theirs/tree")]);
    if engine == "supermin" {
        diff.args(["-x", "base.tar.gz"]);
    }
    assert_eq!(run(&mut diff), "");
}

#[test]
fn dpkg_buildpackage_makes_the_package_and_it_boots() {
    if !require(&["dpkg-deb"]) {
        return;
    }
    let Some(debian) = debian() else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = copy_of(&debian, "source-debian");
    let deb = root.put(&freezedry_deb(dir.path()));
    let prepare = format!("apt-get -q update; {APT} install build-essential {deb}");
    root.must(&["sh", "-e", "-c", &prepare]);
    for engine in ["freezedry", "supermin"] {
        if engine == "supermin" {
            // It has to build without Freezedry, which makes ours beside it.
            root.must(&["dpkg", "-r", "freezedry"]);
            root.put(Path::new(env!("CARGO_BIN_EXE_freezedry")));
            root.must(&["mv", "/var/tmp/freezedry", "/usr/local/bin/freezedry"]);
        }
        dpkg_tools(&root, engine);
        // Without Freezedry, boot-greeter uses stock supermin and qemu.
        if engine == "supermin" {
            root.must(&["rm", "/usr/local/bin/freezedry"]);
        }
        let package = format!("{APT} install /var/tmp/build/{engine}/built.deb");
        root.must(&["sh", "-e", "-c", &package]);
        let install = "mkdir -p test && cd test && dpkg-source -x ../theirs/*.dsc source
             AUTOPKGTEST_TMP=$PWD source/debian/tests/boot";
        offline(&root, &format!("/var/tmp/build/{engine}"), install);
        root.must(&["dpkg", "-r", "greeter"]);
    }
}
