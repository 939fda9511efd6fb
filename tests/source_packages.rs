//! Source packages: what is in them, and what the distributions' linters say.

use crate::support::appliance::yaml;
use crate::support::{both, freezedry, require, run, skip};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A description with everything that a source package has to carry, and the
/// files that it names, in `dir`.
pub(crate) fn greeter(dir: &Path, engine: &str) -> PathBuf {
    let text = format!(
        "name: greeter\nversion: \"2.1\"\nrelease: 3\nrehydrate: at-install\nengine: {engine}\n\
         summary: Virtual machine that comes with files of its own\nlicense: MIT\n\
         maintainer: Jane Doe <jane@example.org>\nurl: https://example.org/greeter\n{REST}"
    );
    std::fs::create_dir_all(dir.join("scripts")).unwrap();
    let script = dir.join("scripts/greet.sh");
    std::fs::write(&script, "#!/bin/sh\necho \"100% $(cat /etc/greeting)\"\n").unwrap();
    run(Command::new("chmod").arg("0755").arg(script));
    std::fs::write(dir.join("greeting.txt"), "welcome\n").unwrap();
    let path = dir.join("greeter.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

const REST: &str = r#"description: |
  It greets, 100% of the time, and shows that files, versions and relations go
  through source packages unharmed, and so do ${x}, ${} and ${shlibs:Depends}.

  A second paragraph.
packages:
  all: [bash, coreutils, "sed >= 4"]
  fedora: [(gawk or mawk)]
  debian: [gawk]
recommends: [less]
suggests: {debian: [vim], fedora: [vim-enhanced]}
provides: ["greeting-machine = 2~rc1", "old-greeter = 2"]
conflicts: ["other-greeter < 3"]
obsoletes: ["old-greeter < 2"]
files:
  - {path: /usr/local/bin/greet, source: scripts/greet.sh}
  - {path: /etc/greeting, source: greeting.txt}
  - {path: /etc/words, content: "100% of it\n"}
host_files: [/etc/ld.so.cache]
exclude: [/usr/share/doc/*, /usr/share/man/*, /usr/share/locale/*]
boot: {init: greet, memory: 256M}
changelog:
  - {version: 2.1-3, date: 2026-11-23, changes: [Greet 100% of the time, And more]}
  - {version: "2.0", date: 2025-01-10, changes: [First release]}
"#;

/// Packages `description` in `formats`; the files by name.
fn package(description: &Path, formats: &str, out: &Path) -> BTreeSet<String> {
    run(freezedry()
        .args(["package", "--format", formats, "-o"])
        .arg(out)
        .arg(description));
    names(out)
}

pub(crate) fn names(dir: &Path) -> BTreeSet<String> {
    let entries = dir.read_dir().unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn rpm_reads_the_source_rpm() {
    if !require(&["rpm", "rpm2cpio", "cpio", "sha512sum"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    package(&greeter(dir.path(), "supermin"), "koji", &out);
    let rpm = out.join("greeter-2.1-3.src.rpm");
    let query = |what: &[&str]| run(Command::new("rpm").args(what).arg(&rpm));
    assert!(query(&["-K"]).ends_with("digests OK\n"));
    assert_eq!(query(&["-qpl"]), "greeter-2.1.tar.xz\ngreeter.spec\n");
    assert!(query(&["-qpi"]).contains("Summary     : Virtual machine that comes"));
    let shown = query(&[
        "-qp",
        "--qf",
        "%{SOURCEPACKAGE} %{SOURCERPM} [%{SOURCE}] [%{FILEFLAGS} ]",
    ]);
    assert_eq!(shown, "1 (none) greeter-2.1.tar.xz 0 32 ");
    let needs = query(&["-qpR"]);
    for need in [
        "supermin\n",
        "(gawk or mawk)\n",
        "sed >= 4\n",
        "rpmlib(RichDependencies)",
    ] {
        assert!(needs.contains(need), "{needs}");
    }
    // The digest in `sources` is that of the tarball inside.
    let unpack = format!("rpm2cpio {} | cpio -i --quiet", rpm.display());
    run(Command::new("sh").args(["-c", &unpack]).current_dir(&out));
    run(Command::new("sha512sum")
        .args(["-c", "sources"])
        .current_dir(&out));
    let listed = run(Command::new("tar")
        .arg("-tf")
        .arg(out.join("greeter-2.1.tar.xz")));
    for member in [
        "appliance/appliance.yaml",
        "appliance/scripts/greet.sh",
        "boot-greeter",
    ] {
        assert!(
            listed.contains(&format!("greeter-2.1/{member}\n")),
            "{listed}"
        );
    }
    assert!(!listed.contains("skeleton/packages"), "{listed}");
}

/// What dpkg would put in place of `${...}` is put there by dpkg when it builds.
#[test]
fn dpkg_gencontrol_gives_back_what_the_author_wrote() {
    if !require(&["dpkg-source", "dpkg-gencontrol", "dpkg-deb"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let description = greeter(dir.path(), "freezedry");
    let text = std::fs::read_to_string(&description).unwrap();
    let text = text
        .replace("files of its own", "${Source-Version} and ${${x}")
        .replace("Jane Doe", "Jane ${D} Doe")
        .replace("org/greeter", "org/${greeter}");
    std::fs::write(&description, text).unwrap();
    let out = dir.path().join("out");
    package(&description, "deb,dsc", &out);
    let at = |name: &str| out.join(name);
    run(Command::new("dpkg-source")
        .args(["-x", "greeter_2.1-3.dsc", "source"])
        .current_dir(&out));
    std::fs::create_dir(at("source/debian/greeter")).unwrap();
    let built = run(Command::new("dpkg-gencontrol")
        .args(["-O", "-Pdebian/greeter"])
        .current_dir(at("source")));
    let ours = run(Command::new("dpkg-deb")
        .arg("-f")
        .arg(at("greeter_2.1-3_all.deb")));
    for field in ["Description", "Maintainer", "Homepage"] {
        let of = |control: &str| {
            let start = control.find(&format!("\n{field}: ")).unwrap() + 1;
            let rest = &control[start..];
            let next = rest
                .match_indices('\n')
                .find(|(at, _)| !rest[at + 1..].starts_with(' '));
            rest[..next.map_or(rest.len(), |(at, _)| at)]
                .trim_end()
                .to_owned()
        };
        assert_eq!(of(&built), of(&ours));
        assert!(of(&ours).contains("${"), "{ours}");
    }
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let make = |number: &str, umask: &str, environment: [(&str, &str); 2]| {
        let dir = dir.path().join(number);
        let description = greeter(&dir, "supermin");
        for formats in ["srpm,dsc,koji", "obs"] {
            let program = env!("CARGO_BIN_EXE_freezedry");
            let command = format!(
                "umask {umask}; exec {program} package --format {formats} -o out/{formats} \"$@\""
            );
            let mut shell = Command::new("sh");
            run(shell
                .args(["-c", &command, "sh"])
                .arg(&description)
                .envs(environment)
                .current_dir(&dir));
        }
        let mut found = BTreeMap::new();
        for formats in ["srpm,dsc,koji", "obs"] {
            let out = dir.join("out").join(formats);
            for name in names(&out) {
                found.insert(
                    format!("{formats}/{name}"),
                    std::fs::read(out.join(name)).unwrap(),
                );
            }
        }
        found
    };
    let one = make("1", "022", [("LC_ALL", "C"), ("TZ", "UTC")]);
    // Another second, so that no clock goes unnoticed.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let two = make(
        "2",
        "077",
        [("LC_ALL", "de_DE.UTF-8"), ("TZ", "Pacific/Auckland")],
    );
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        two.keys().collect::<Vec<_>>()
    );
    assert_eq!(one.len(), 12, "{:?}", one.keys());
    for (name, bytes) in &one {
        assert!(*bytes == two[name], "{name} differs");
    }
}

#[test]
fn several_descriptions_are_one_checkout_with_flavours() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let files: Vec<PathBuf> = ["one", "two", "three"]
        .map(|name| {
            let path = dir.path().join(format!("{name}.yaml"));
            std::fs::write(&path, yaml(name, "packages: [bash]\n")).unwrap();
            path
        })
        .into();
    let mut command = freezedry();
    command.args(["package", "--format=obs", "-o"]).arg(&out);
    run(command.args(&files));
    let made = names(&out);
    for name in ["one", "two", "three"] {
        for file in ["{}.spec", "{}.changes", "{}-1.0.tar.xz", "{}_1.0-1.dsc"] {
            assert!(made.contains(&file.replace("{}", name)), "{made:?}");
        }
    }
    assert_eq!(
        std::fs::read_to_string(out.join("_multibuild")).unwrap(),
        "<multibuild>\n  <flavor>two</flavor>\n  <flavor>three</flavor>\n</multibuild>\n"
    );
}

/// OBS would build the first `.dsc` that it finds, and flavours that are gone.
#[test]
fn what_an_earlier_checkout_had_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let description = |name: &str, version: &str| {
        let path = dir.path().join(format!("{name}.yaml"));
        let text = yaml(name, "packages: [bash]\n").replace("\"1.0\"", version);
        std::fs::write(&path, text).unwrap();
        path
    };
    let make = |out: &Path, files: &[PathBuf]| {
        let mut command = freezedry();
        command.args(["package", "--format=obs", "-o"]).arg(out);
        let output = command.args(files).output().unwrap();
        assert!(output.status.success(), "{}", both(&output));
        both(&output)
    };
    make(
        &out,
        &["one", "two"].map(|name| description(name, "\"1.0\"")),
    );
    // None of these is ours.
    let others = [
        "one-data-1.0.tar.xz",
        "two_1.0.patch",
        "one-0.9.tar.xz",
        "_service",
    ];
    for name in others {
        std::fs::write(out.join(name), "").unwrap();
    }
    run(freezedry()
        .args(["package", "--format=dsc", "-o"])
        .arg(&out)
        .arg(description("mine", "\"1.0\"")));
    let mine = [
        "mine_1.0-1.dsc",
        "mine_1.0.orig.tar.xz",
        "mine_1.0-1.debian.tar.xz",
    ];
    let said = make(&out, &[description("one", "\"1.1~rc1\"")]);
    assert_eq!(said.matches(": removed ").count(), 11, "{said}");
    let fresh = dir.path().join("fresh");
    make(&fresh, &[description("one", "\"1.1~rc1\"")]);
    let mut expected = names(&fresh);
    expected.extend(others.iter().chain(&mine).map(|name| (*name).to_owned()));
    assert_eq!(names(&out), expected);
}

#[test]
fn what_cannot_be_made_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let description = greeter(dir.path(), "freezedry");
    let text = std::fs::read_to_string(&description).unwrap();
    let climbing = dir.path().join("climbing.yaml");
    let source = text.replace("source: greeting.txt", "source: scripts/../greeting.txt");
    std::fs::write(&climbing, source).unwrap();
    let twice = [&description, &description];
    for (formats, files, message) in [
        (
            "deb --family=suse",
            &[&description][..],
            "--family chooses the names in an RPM, and none is made",
        ),
        (
            "dsc,rpm --changes",
            &[&description],
            "--changes is about a Debian package, and none is made",
        ),
        (
            "obs,deb",
            &[&description][..],
            "an OBS checkout holds what is meant for OBS",
        ),
        (
            "koji",
            &[&description, &climbing],
            "two of the descriptions have the same name",
        ),
        ("deb", &twice, "two of the descriptions have the same name"),
        (
            "deb,srpm",
            &[&climbing],
            "scripts/../greeting.txt` cannot be put into a source package",
        ),
    ] {
        let mut command = freezedry();
        let options = format!("package --format {formats} -o");
        command.args(options.split(' ')).arg(&out);
        let output = command.args(files).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{formats}: {said}");
        let last = said.lines().last().unwrap();
        assert!(
            last.contains(message) && last.contains("; "),
            "{formats}: {said}"
        );
        assert!(
            !out.exists() || names(&out).is_empty(),
            "{formats}: {:?}",
            names(&out)
        );
    }
}

#[test]
fn names_of_other_families_are_told_and_can_be_chosen() {
    if !require(&["rpm"]) {
        return;
    }
    if !Path::new("/var/lib/dpkg/status").exists() {
        skip("this is no Debian system");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let description = dir.path().join("named.yaml");
    let packages = "packages: {all: [bash], debian: [no-such-package], suse: [shadow >= 4]}\n";
    std::fs::write(&description, yaml("named", packages)).unwrap();
    let said = |options: &[&str]| {
        let mut command = freezedry();
        command.arg("package").args(options).arg(&description);
        let output = command.arg("-o").arg(dir.path()).output().unwrap();
        assert!(output.status.success(), "{}", both(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        let told = said.lines().filter(|line| !line.contains(": wrote "));
        told.map(|line| format!("{line}\n")).collect::<String>()
    };
    let missing = "freezedry: not installed here, so their dependencies and \
        configuration files are not known: no-such-package\n";
    let lacking = "freezedry: `packages` has names for debian, suse, and none for fedora, \
        which gets those under `all` alone\n";
    let taken = |families: &str, left: &str| {
        format!(
            "freezedry: this is no {families} host: the names of packages are taken as they are written{left}\n"
        )
    };
    let left = ", and their configuration files are left to the host that boots";
    let needs = |what: &str| {
        let package = dir.path().join(format!("named-1.0-1.{what}.rpm"));
        run(Command::new("rpm").arg("-qpR").arg(package)).contains("shadow >= 4\n")
    };
    assert_eq!(said(&["--format=deb"]), missing);
    assert_eq!(said(&["--format=dsc"]), missing);
    let fedora = taken("fedora", left);
    assert_eq!(said(&["--format=rpm"]), format!("{lacking}{fedora}"));
    assert!(!needs("noarch"));
    assert_eq!(said(&["--family=suse"]), taken("suse", left));
    assert!(needs("noarch"));
    let both = taken("fedora or suse", "");
    assert_eq!(said(&["--format=srpm"]), format!("{lacking}{both}"));
    assert!(!needs("src"));
    said(&["--format=srpm", "--family=suse"]);
    assert!(needs("src"));
    assert_eq!(said(&["--format=obs"]), format!("{missing}{lacking}{both}"));
}

#[test]
fn a_format_named_twice_is_made_once_and_not_over_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let description = greeter(dir.path(), "freezedry");
    let out = dir.path().join("out");
    for format in ["obs", "srpm"] {
        let mut command = freezedry();
        command.args(["package", "--format", &format!("{format},{format}"), "-o"]);
        let output = command.arg(out.join(format)).arg(&description).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", both(&output));
        let made = names(&out.join(format)).len();
        assert_eq!(both(&output).matches(": wrote ").count(), made);
    }
    let mut command = freezedry();
    command.args(["package", "--format=srpm", "-o"]);
    let output = command
        .arg(&description)
        .arg(&description)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("is a file, and packages go to a directory; name a directory"));
}

/// Debian's archive takes the tarball of a version once, and so do the lookaside
/// caches.
#[test]
fn releases_of_a_version_have_the_same_tarball() {
    if !require(&["dpkg-source"]) {
        return;
    }
    for engine in ["freezedry", "supermin"] {
        let dir = tempfile::tempdir().unwrap();
        let description = greeter(dir.path(), engine);
        let at = |name: &str| dir.path().join("out").join(name);
        let tarballs = ["dsc/greeter_2.1.orig.tar.xz", "obs/greeter-2.1.tar.xz"];
        // All of it into the same directory; the first time is a build system's own.
        let make = |time: Option<&str>| -> (Vec<Vec<u8>>, usize) {
            let mut changed = 0;
            for format in ["dsc", "obs", "koji"] {
                let mut command = freezedry();
                command.args(["package", "--format", format, "-o"]);
                command.arg(at(format)).arg(&description);
                command.envs(time.map(|time| ("SOURCE_DATE_EPOCH", time)));
                let output = command.output().unwrap();
                assert!(output.status.success(), "{}", both(&output));
                changed += both(&output).matches("is not as it was").count();
            }
            let bytes = tarballs.map(|name| std::fs::read(at(name)).unwrap());
            let sources = std::fs::read(at("koji/sources")).unwrap();
            (bytes.into_iter().chain([sources]).collect(), changed)
        };
        let first = make(Some("1999999999"));
        let text = std::fs::read_to_string(&description).unwrap();
        let entry = "changelog:\n  - {version: 2.1-4, date: 2027-02-01, changes: [Next]}\n";
        let next = text
            .replace("release: 3\n", "release: 4 # the next\nepoch: 1\n")
            .replace("changelog:\n", entry);
        std::fs::write(&description, &next).unwrap();
        assert!(make(None) == first, "{engine}");
        assert_eq!(first.1, 0);
        // The first tarball belongs to the second release, by its digests too.
        run(Command::new("dpkg-source")
            .arg("-x")
            .arg(at("dsc/greeter_2.1-4.dsc"))
            .arg(at("unpacked")));
        // Something else than the release changes.
        let other = next.replace("memory: 256M", "memory: 512M");
        std::fs::write(&description, other).unwrap();
        assert_eq!(make(None).1, 3, "{engine}");
    }
}
