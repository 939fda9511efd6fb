//! `freezedry inspect` and `freezedry diff`, with dpkg-deb and rpm as judges.

use crate::support::{both, freezedry, require, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn hello() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-vm/appliance.yaml")
}

/// hello as `.deb` and `.rpm`.
fn packages(description: &Path, out: &Path) -> [PathBuf; 2] {
    run(freezedry()
        .args(["package", "--format=deb,rpm", "-o"])
        .arg(out)
        .arg(description));
    ["hello-vm_1.0-1_all.deb", "hello-vm-1.0-1.noarch.rpm"].map(|name| out.join(name))
}

fn inspect(path: &Path) -> Output {
    freezedry().arg("inspect").arg(path).output().unwrap()
}

fn json(path: &Path) -> Value {
    let text = run(freezedry().args(["inspect", "--json"]).arg(path));
    serde_json::from_str(&text).unwrap()
}

fn diff(a: &Path, b: &Path) -> Output {
    freezedry().arg("diff").args([a, b]).output().unwrap()
}

fn list(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect()
}

#[test]
fn a_deb_is_what_dpkg_deb_says() {
    if !require(&["dpkg-deb"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [deb, _] = packages(&hello(), dir.path());
    let report = json(&deb);
    assert_eq!(report["kind"], "package");
    assert_eq!(report["format"], "deb");
    let field = |name: &str| run(Command::new("dpkg-deb").arg("-f").arg(&deb).arg(name));
    let metadata = &report["metadata"];
    for (key, name) in [
        ("name", "Package"),
        ("version", "Version"),
        ("architecture", "Architecture"),
        ("maintainer", "Maintainer"),
    ] {
        assert_eq!(metadata[key], field(name).trim(), "{key}");
    }
    let depends = list(&report["relations"]["depends"]).join(", ");
    assert_eq!(depends, field("Depends").trim());
    let listed = run(Command::new("dpkg-deb").arg("-c").arg(&deb));
    let theirs: Vec<String> = listed
        .lines()
        .map(|line| line.rsplit_once(" ./").unwrap().1.trim_end_matches('/'))
        .map(|path| format!("/{path}"))
        .collect();
    let ours: Vec<&String> = report["files"].as_object().unwrap().keys().collect();
    assert_eq!(ours, theirs.iter().collect::<Vec<_>>());
    assert_eq!(report["digests"][0]["good"], true);
    skeleton_of_hello(&report["skeletons"][0]);
}

#[test]
fn an_rpm_is_what_rpm_says() {
    if !require(&["rpm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [_, rpm] = packages(&hello(), dir.path());
    let report = json(&rpm);
    let query = |format: &str| run(Command::new("rpm").args(["-qp", "--qf", format]).arg(&rpm));
    let metadata = &report["metadata"];
    assert_eq!(
        format!(
            "{}-{}.{} {} {}",
            metadata["name"].as_str().unwrap(),
            metadata["version"].as_str().unwrap(),
            metadata["architecture"].as_str().unwrap(),
            metadata["license"].as_str().unwrap(),
            metadata["summary"].as_str().unwrap(),
        ),
        query("%{NEVR}.%{ARCH} %{LICENSE} %{SUMMARY}")
    );
    let theirs = query("[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME} %{FILEDIGESTS}\n]");
    let ours: String = report["files"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, file)| {
            let kind = if file["kind"] == "directory" {
                "4"
            } else {
                "10"
            };
            let mode = file["mode"].as_str().unwrap();
            let owner = file["owner"].as_str().unwrap();
            let digest = file["sha256"].as_str().unwrap_or_default();
            format!("{path} {kind}{mode} {owner} {digest}\n")
        })
        .collect();
    assert_eq!(ours, theirs);
    let requires = run(Command::new("rpm").args(["-qp", "--requires"]).arg(&rpm));
    let mut theirs: Vec<&str> = requires.lines().collect();
    let mut ours = list(&report["relations"]["requires"]);
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
    let digests = report["digests"].as_array().unwrap();
    assert!(digests.len() >= 4, "{digests:?}");
    assert!(digests.iter().all(|digest| digest["good"] == true));
    skeleton_of_hello(&report["skeletons"][0]);
}

fn skeleton_of_hello(skeleton: &Value) {
    assert_eq!(skeleton["path"], "/usr/share/freezedry/hello-vm/supermin.d");
    assert!(list(&skeleton["packages"]).contains(&"bash"));
    let init = &skeleton["archives"]["init.tar.gz"]["/init"];
    assert_eq!(init["mode"], "0755");
}

/// Packages of others: every one that the cache of the RPM world has, and one
/// made by dpkg-deb with everything that a package can have.
#[test]
fn packages_of_others_are_read_too() {
    if !require(&["dpkg-deb", "rpm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    for (name, text, mode) in [
        (
            "DEBIAN/control",
            "Package: other\nVersion: 1:2~rc1-3\nArchitecture: all\nMaintainer: A <a@b.c>\n\
             Depends: a (>= 1), b | c\nPre-Depends: d\nDescription: short\n long\n",
            0o644,
        ),
        ("DEBIAN/conffiles", "/etc/other.conf\n", 0o644),
        ("DEBIAN/triggers", "interest-noawait /usr/lib\n", 0o644),
        ("DEBIAN/postinst", "#!/bin/sh -e\ntrue\n", 0o755),
        ("etc/other.conf", "x\n", 0o640),
    ] {
        std::fs::write(tree.join(name), text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(tree.join(name), mode).unwrap();
    }
    std::os::unix::fs::symlink("other.conf", tree.join("etc/link")).unwrap();
    for compression in ["none", "gzip", "xz", "zstd"] {
        let deb = dir.path().join(format!("{compression}.deb"));
        let mut build = Command::new("dpkg-deb");
        build.args([
            "--root-owner-group",
            "--uniform-compression",
            "-Z",
            compression,
        ]);
        if !build
            .arg("-b")
            .arg(&tree)
            .arg(&deb)
            .output()
            .unwrap()
            .status
            .success()
        {
            // Not every dpkg knows zstd.
            assert_eq!(compression, "zstd");
            continue;
        }
        let report = json(&deb);
        assert_eq!(report["metadata"]["version"], "1:2~rc1-3");
        assert_eq!(list(&report["relations"]["depends"]), ["a (>= 1)", "b | c"]);
        assert_eq!(list(&report["relations"]["pre-depends"]), ["d"]);
        assert_eq!(report["scripts"][0]["name"], "postinst");
        assert_eq!(report["scripts"][0]["interpreter"], "/bin/sh -e");
        assert_eq!(
            list(&report["scripts"][1]["triggers"]),
            ["interest-noawait /usr/lib"]
        );
        let file = &report["files"]["/etc/other.conf"];
        assert_eq!(file["mode"], "0640");
        assert_eq!(list(&file["flags"]), ["config"]);
        assert_eq!(report["files"]["/etc/link"]["target"], "other.conf");
    }

    let Some(world) = crate::support::rpm_world() else {
        return;
    };
    let repository = world.join("srv/rpm-world");
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut directories = vec![repository];
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rpm") {
                found.insert(path.display().to_string(), path);
            }
        }
    }
    assert!(found.len() > 100, "{}", found.len());
    for path in found.values().step_by(11) {
        let package = freezedry::package::read::read(path).unwrap();
        assert!(package.is_sound(), "{path:?}: {:?}", package.digests);
        let listed = run(Command::new("rpm")
            .args(["-qp", "--nosignature", "--qf", "[%{FILENAMES}\n]"])
            .arg(path));
        let mut theirs: Vec<&str> = listed.lines().filter(|line| !line.is_empty()).collect();
        theirs.sort_unstable();
        let ours: Vec<&str> = package.files.keys().map(String::as_str).collect();
        assert_eq!(ours, theirs, "{path:?}");
    }
}

#[test]
fn people_see_what_it_is_and_what_it_would_become() {
    let dir = tempfile::tempdir().unwrap();
    for path in packages(&hello(), dir.path()) {
        let output = inspect(&path);
        assert!(output.status.success(), "{}", both(&output));
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        for wanted in [
            "package       hello-vm 1.0-1 (",
            "summary       Virtual machine that greets its user\n",
            "signature     none\n",
            " /usr/bin/boot-hello-vm\n",
            "skeleton      /usr/share/freezedry/hello-vm/supermin.d\n",
        ] {
            assert!(text.contains(wanted), "{wanted}: {}", both(&output));
        }
        let here = text
            .lines()
            .any(|line| line.starts_with("here          ") || line.starts_with("not here      "));
        assert!(here, "{text}");
    }
}

#[test]
fn a_damaged_package_is_refused_with_file_and_place() {
    let dir = tempfile::tempdir().unwrap();
    for path in packages(&hello(), dir.path()) {
        let bytes = std::fs::read(&path).unwrap();
        let cut = dir.path().join("cut");
        std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
        let output = inspect(&cut);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(
            said.starts_with(&format!(
                "freezedry: the package `{}` is damaged: ",
                cut.display()
            )),
            "{said}"
        );
    }
}

#[test]
fn a_wrong_digest_is_shown_and_is_a_failure() {
    if !require(&["rpm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [_, rpm] = packages(&hello(), dir.path());
    let mut bytes = std::fs::read(&rpm).unwrap();
    // A letter of the summary: everything can be read, but not all is right.
    let at = bytes
        .windows(12)
        .rposition(|window| window == b"Virtual mach")
        .unwrap();
    bytes[at] = b'v';
    std::fs::write(&rpm, bytes).unwrap();
    let checked = Command::new("rpm").arg("-K").arg(&rpm).output().unwrap();
    assert!(!checked.status.success(), "{}", both(&checked));
    let output = inspect(&rpm);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("header sha256 WRONG"), "{text}");
}

#[test]
fn what_is_neither_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, b"\0\x01\x02").unwrap();
    let output = inspect(&path);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("is no package and no appliance, and no skeleton either"),
        "{said}"
    );
}

#[test]
fn what_could_be_read_as_a_skeleton_need_not_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let dsc = "Format: 3.0 (quilt)\nSource: box\n";
    for (path, advice) in [
        (put("empty", ""), "give a .deb or .rpm"),
        (folder.clone(), "give a .deb or .rpm"),
        (hello(), "looked at by `freezedry check`"),
        (
            put("short.yaml", "packages:\n"),
            "looked at by `freezedry check`",
        ),
        (put("box.dsc", dsc), "give the packages that it names"),
        (put("box.changes", dsc), "give the packages that it names"),
    ] {
        let output = inspect(&path);
        assert_eq!(output.status.code(), Some(1), "{path:?}: {}", both(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("and no skeleton either; ") && said.contains(advice),
            "{path:?}: {said}"
        );
        assert!(output.stdout.is_empty(), "{path:?}");
    }
    // A guest of this would not start.
    std::fs::write(folder.join("packages"), "bash\n").unwrap();
    let output = inspect(&folder);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("init          none: no archive has /init"),
        "{said}"
    );
}

#[test]
fn diff_is_silent_for_the_same_and_exact_for_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(hello()).unwrap();
    let next = dir.path().join("next.yaml");
    std::fs::write(
        &next,
        text.replace("Hello from", "Hello again from")
            .replace("packages: [", "packages: [sed, "),
    )
    .unwrap();
    let [deb, rpm] = packages(&hello(), &dir.path().join("1"));
    let [deb2, rpm2] = packages(&next, &dir.path().join("2"));
    for (a, b, relation) in [(&deb, &deb2, "depends"), (&rpm, &rpm2, "requires")] {
        let output = diff(a, a);
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        assert!(output.stdout.is_empty(), "{}", both(&output));

        let output = diff(a, b);
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(text.contains("files\n"), "{text}");
        assert!(
            text.contains("~ /usr/share/freezedry/hello-vm/supermin.d/packages: sha256 "),
            "{text}"
        );
        assert!(text.contains("skeleton packages\n  + sed\n"), "{text}");
        assert!(text.contains("skeleton init.tar.gz\n  ~ /init: "), "{text}");
        // sed is essential on Debian, and nothing depends on it there.
        let depends = text.contains(&format!("{relation}\n  + sed\n"));
        assert_eq!(depends, relation == "requires", "{text}");

        let said = freezedry()
            .args(["diff", "--json"])
            .args([a, b])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(report["same"], false);
        let sed = report["changes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|change| change["section"] == "skeleton packages")
            .unwrap();
        assert_eq!(sed["item"], "sed");
        assert_eq!(sed["before"], Value::Null);
    }
    // Trouble is neither.
    for other in [dir.path().join("nothing"), dir.path().to_owned()] {
        assert_eq!(diff(&deb, &other).status.code(), Some(2));
    }
}

#[test]
fn skeletons_and_appliances() {
    let dir = tempfile::tempdir().unwrap();
    let skeleton = dir.path().join("supermin.d");
    run(freezedry()
        .args(["prepare", "-o"])
        .arg(&skeleton)
        .arg(hello()));
    let report = json(&skeleton);
    assert_eq!(report["kind"], "skeleton");
    let here = &report["here"];
    if here.is_null() {
        let reason = report["not_here"].as_str().unwrap();
        crate::support::skip(reason);
        return;
    }
    assert!(list(&here["packages"]).len() >= list(&report["packages"]).len());
    assert_eq!(list(&here["missing"]), Vec::<&str>::new());

    let appliance = dir.path().join("appliance.d");
    run(freezedry()
        .args(["rehydrate", "-o"])
        .arg(&appliance)
        .arg(&skeleton));
    let report = json(&appliance);
    assert_eq!(report["kind"], "appliance");
    assert_eq!(report["kernel"], here["kernel"]);
    let root = &report["files"]["root"];
    assert!(root["apparent"].as_u64() > root["real"].as_u64());
    assert_eq!(report["stamp"].as_str().map(str::len), Some(64));
    if require(&["blkid"]) {
        let said = run(Command::new("blkid")
            .args(["-p", "-o", "value", "-s", "UUID"])
            .arg(appliance.join("root")));
        assert_eq!(report["uuid"], said.trim());
    }

    // A copy, since the times of the host's directories may change meanwhile;
    // it has other holes.
    let again = dir.path().join("again.d");
    run(Command::new("cp")
        .args(["-r", "--sparse=always"])
        .args([&appliance, &again]));
    let output = diff(&appliance, &again);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    run(freezedry()
        .args(["rehydrate", "--module=loop", "-o"])
        .arg(&again)
        .arg(&skeleton));
    let output = diff(&appliance, &again);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("  ~ initrd: sha256 ") || text.contains("  ~ initrd: size "),
        "{text}"
    );
    assert_eq!(diff(&appliance, &skeleton).status.code(), Some(2));
}

#[test]
fn whether_an_appliance_is_fresh() {
    if !require(&["qemu-system-x86_64"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let skeleton = dir.path().join("supermin.d");
    run(freezedry()
        .args(["prepare", "-o"])
        .arg(&skeleton)
        .arg(hello()));
    let mut boot = freezedry();
    boot.env("FREEZEDRY_CACHE_DIR", dir.path().join("cache"));
    run(boot
        .args(["boot", "--name=box", "--accel=tcg"])
        .arg(&skeleton)
        .args(["--", "true"]));
    let appliance = dir.path().join("cache/v1/box/appliance");
    let standing = || {
        let text = run(freezedry()
            .args(["inspect", "--json", "--skeleton"])
            .arg(&skeleton)
            .arg(&appliance));
        serde_json::from_str::<Value>(&text).unwrap()["standing"].clone()
    };
    assert_eq!(standing(), "fresh");
    std::fs::write(skeleton.join("hostfiles"), "/etc/hostname\n").unwrap();
    assert_eq!(standing(), "stale");
    assert_eq!(json(&appliance)["standing"], Value::Null);
}
