//! What an author has besides `check`: the audit of a host, `new`, `doctor`.

use crate::support::{
    both, compare, freezedry, named, require, require_root, rpm_world, run, skip, source,
};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn debian() -> bool {
    Path::new("/var/lib/dpkg/status").exists() || skip("this is no Debian system")
}

/// Each `tests/host-descriptions/NAME.yaml` gets exactly the findings in
/// `NAME.txt`, whose last line is the exit status.
#[test]
fn what_an_appliance_would_miss_is_told_with_its_place_and_its_cure() {
    if !debian() || !require(&["dpkg", "python3", "perl", "grep"]) {
        return;
    }
    let output = freezedry().args(["doctor", "--json"]).output().unwrap();
    let doctor: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kernel = doctor
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["what"] == "kernel")
        .unwrap();
    if kernel["health"] == "FAIL" {
        skip("there is no kernel");
        return;
    }
    let kernel = kernel["seen"]
        .as_str()
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let descriptions = named("tests/host-descriptions", "yaml");
    assert!(descriptions.len() >= 20);
    let mut wrong = Vec::new();
    for path in &descriptions {
        let output = freezedry()
            .args(["check", "--host"])
            .arg(path.file_name().unwrap())
            .current_dir(source("tests/host-descriptions"))
            .output()
            .unwrap();
        assert!(output.stdout.is_empty(), "{path:?}: {}", both(&output));
        let said = String::from_utf8_lossy(&output.stderr).replace(&kernel, "KERNEL");
        let text = format!("{said}exit status: {}\n", output.status.code().unwrap());
        compare(&path.with_extension("txt"), &text, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "run with BLESS=1 if this is meant:\n{}",
        wrong.join("\n")
    );
}

/// A system with 40 packages, Python, and every example: no error, and the
/// small ones are silent.
#[test]
fn good_appliances_have_no_errors() {
    if !debian() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let packages = "apt, bash, coreutils, dash, dbus, debconf, diffutils, e2fsprogs, findutils, gpgv, \
        grep, gzip, hostname, init-system-helpers, iproute2, kmod, less, libpam-modules, \
        login, man-db, mawk, mount, openssl, passwd, perl-base, procps, python3, sed, \
        systemd, systemd-sysv, tar, tzdata, udev, util-linux, adduser, base-files, base-passwd, bsdutils, \
        debianutils, ncurses-bin";
    assert_eq!(packages.split(',').count(), 40);
    let system = crate::support::appliance::yaml(
        "system",
        &format!("packages: [{packages}]\nboot: {{init: systemd}}\n"),
    );
    let python =
        "packages: [python3]\nboot:\n  init: python3 -c 'import ssl, sqlite3; print(6*7)'\n";
    let python = crate::support::appliance::yaml("box", python);
    for (name, text) in [("system.yaml", system), ("box.yaml", python)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut check = freezedry();
    check
        .args(["check", "--host", "--json"])
        .current_dir(dir.path());
    let output = check.args(["system.yaml", "box.yaml"]).output().unwrap();
    let problems: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |file: &str| -> Vec<&Value> {
        problems
            .as_array()
            .unwrap()
            .iter()
            .filter(|problem| problem["file"] == file)
            .collect()
    };
    // What is not installed here is no fault of ours, but the rest would be.
    let errors = of("system.yaml")
        .into_iter()
        .filter(|problem| problem["severity"] == "error");
    assert_eq!(errors.count(), 0, "{problems:#}");
    assert!(of("system.yaml").len() <= 3, "too noisy: {problems:#}");
    assert_eq!(of("box.yaml").len(), 0, "{problems:#}");
    assert_eq!(output.status.code(), Some(0));

    let hello = source("examples/hello-vm/appliance.yaml");
    let output = freezedry()
        .args(["check", "--host"])
        .arg(hello)
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        both(&output)
    );
}

#[test]
fn findings_are_data_and_do_not_keep_a_package_from_being_made() {
    if !debian() {
        return;
    }
    let description = source("tests/host-descriptions/script-calls-essential.yaml");
    let output = freezedry()
        .args(["check", "--host", "--json"])
        .arg(&description)
        .output()
        .unwrap();
    let problems: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &problems[0];
    assert_eq!(first["kind"], "command");
    assert_eq!(first["severity"], "warning");
    assert_eq!(first["missing"], "grep");
    assert_eq!(
        first["wanted_by"],
        json!([{"path": "/usr/local/bin/go", "owner": "files"}])
    );
    assert!(output.stderr.is_empty(), "{}", both(&output));

    let broken = source("tests/descriptions/name-too-short.yaml");
    let output = freezedry()
        .args(["check", "--json"])
        .arg(broken)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let problems: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&problems[0]["line"], &problems[0]["column"]),
        (&json!(1), &json!(7))
    );

    // An error of the audit is a warning to `package`: the host that boots is another.
    let dir = tempfile::tempdir().unwrap();
    let output = freezedry()
        .args(["package", "--format", "deb", "-o"])
        .arg(dir.path())
        .arg(source("tests/host-descriptions/init-essential.yaml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", both(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("warning: `boot.init`: `grep` is not in the appliance"),
        "{said}"
    );
    assert!(dir.path().join("box_1.0-1_all.deb").exists());
}

/// The same in the RPM world: other packages, another database.
#[test]
fn an_rpm_host_names_its_own_packages() {
    let Some(world) = rpm_world() else { return };
    if !require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        env!("CARGO_BIN_EXE_freezedry"),
        dir.path().join("freezedry"),
    )
    .unwrap();
    for (name, rest) in [
        (
            "bad",
            "packages: {all: [bash, corutils], fedora: [python3]}\nboot: {init: sed p, network: user}\n",
        ),
        ("good", "packages: [python3]\nboot: {init: python3 -V}\n"),
    ] {
        let path = dir.path().join(format!("{name}.yaml"));
        std::fs::write(path, crate::support::appliance::yaml(name, rest)).unwrap();
    }
    let enter = source("tests/rpm-world/enter-rpm-world");
    let output = Command::new(enter)
        .arg("--bind")
        .arg(format!("{}:/mnt", dir.path().display()))
        .args(["--chdir", "/mnt"])
        .arg(world)
        .args([
            "/mnt/freezedry",
            "check",
            "--host",
            "--json",
            "good.yaml",
            "bad.yaml",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let problems: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let told: Vec<String> = problems
        .iter()
        .map(|one| {
            ["file", "severity", "missing", "help"]
                .map(|key| one[key].as_str().unwrap())
                .join("; ")
        })
        .collect();
    let expected = [
        "bad.yaml; error; sed; add `sed` to `packages.fedora`",
        "bad.yaml; warning; ip; add `iproute` to `packages.fedora`",
        "bad.yaml; warning; corutils; did you mean `coreutils`?  Otherwise install it, to have it checked: dnf install corutils",
    ];
    assert_eq!(told, expected);
}

#[test]
fn new_descriptions_are_good_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let new = |arguments: &[&str]| {
        freezedry()
            .arg("new")
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap()
    };
    let output = new(&["mine"]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        both(&output)
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said,
        "freezedry: wrote mine/appliance.yaml; try it with: freezedry boot mine/appliance.yaml\n"
    );
    let written = std::fs::read_to_string(dir.path().join("mine/appliance.yaml")).unwrap();
    assert!(
        written.starts_with("# yaml-language-server: $schema="),
        "{written}"
    );
    let mut check = freezedry();
    check.arg("check").current_dir(dir.path());
    if Path::new("/var/lib/dpkg/status").exists() {
        check.arg("--host");
    }
    assert_eq!(run(check.arg("mine/appliance.yaml")), "");

    let output = new(&["mine", "--from", "hello-vm"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("README.md") || said.contains("appliance.yaml` exists already"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_to_string(dir.path().join("mine/appliance.yaml")).unwrap(),
        written
    );
    assert!(
        !dir.path().join("mine/README.md").exists(),
        "half a copy was left"
    );

    let list = run(freezedry().args(["new", "--list"]));
    let examples: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let folders = source("examples")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.join("appliance.yaml").exists());
    assert_eq!(examples.len(), folders.count(), "{list}");
    for example in examples {
        let output = new(&[
            "copy",
            "--from",
            example,
            "-o",
            &format!("copies/{example}"),
        ]);
        assert!(output.status.success(), "{}", both(&output));
        let copy = dir.path().join("copies").join(example);
        run(freezedry().arg("check").arg(copy.join("appliance.yaml")));
        // All but the description is as it was, whether executable or not.
        let diff = Command::new("diff")
            .args(["-r", "-x", "appliance.yaml"])
            .arg(&copy)
            .arg(source("examples").join(example))
            .output()
            .unwrap();
        assert!(diff.status.success(), "{}", both(&diff));
    }
    let output = new(&["x"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("2 to 64 characters"),
        "{}",
        both(&output)
    );
    let output = new(&["fine", "--from", "helo-vm"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("did you mean `hello-vm`?"),
        "{}",
        both(&output)
    );
    assert_eq!(new(&[]).status.code(), Some(2));
}

#[test]
fn the_doctor_names_what_is_lacking_and_what_repairs_it() {
    let dir = tempfile::tempdir().unwrap();
    let doctor = |arguments: &[&str]| {
        let mut command = freezedry();
        command
            .arg("doctor")
            .args(arguments)
            .env("FREEZEDRY_CACHE_DIR", dir.path());
        command
    };
    let output = doctor(&["--json"])
        .env("PATH", dir.path())
        .output()
        .unwrap();
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let find = |what: &str| all.iter().find(|one| one["what"] == what).unwrap();
    assert_eq!(find("qemu")["health"], "FAIL");
    assert!(
        find("qemu")["repair"]
            .as_str()
            .unwrap()
            .contains("apt install qemu-system-x86")
    );
    assert_eq!(find("cache")["health"], "ok", "{:#}", find("cache"));
    assert!(
        find("KVM")["health"] != "FAIL",
        "software emulation always works"
    );
    assert_eq!(output.status.code(), Some(1));

    let output = doctor(&[])
        .env("SUPERMIN_KERNEL", "/nowhere/vmlinuz-1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("FAIL kernel: the kernel `/nowhere/vmlinuz-1` in SUPERMIN_KERNEL"),
        "{said}"
    );
    assert!(
        said.contains("     repair: correct SUPERMIN_KERNEL"),
        "{said}"
    );
    assert!(
        said.lines()
            .all(|line| ["ok  ", "warn", "FAIL", "    "].contains(&&line[..4])),
        "{said}"
    );

    if require(&["qemu-system-x86_64"]) && debian() {
        let output = doctor(&[]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    }
}
