//! What an author has besides `check`: the audit of a host, `new`, the schema,
//! manual pages, completions, help, `doctor`.

use crate::support::{both, freezedry, require, require_root, rpm_world, run, skip};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn named(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = source(folder).read_dir().unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|other| other == extension));
    paths.sort();
    paths
}

/// Compares with a file that is checked in, or writes it with `BLESS=1`.
fn compare(path: &Path, text: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, text).unwrap();
    } else if std::fs::read_to_string(path).ok().as_deref() != Some(text) {
        wrong.push(format!("{} should be:\n{text}", path.display()));
    }
}

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

    let hello = source("examples/hello/appliance.yaml");
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

    let output = new(&["mine", "--from", "hello"]);
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
    let output = new(&["fine", "--from", "helo"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("did you mean `hello`?"),
        "{}",
        both(&output)
    );
    assert_eq!(new(&[]).status.code(), Some(2));
}

#[test]
fn the_schema_that_is_checked_in_is_current() {
    let now = run(freezedry().arg("schema"));
    let checked_in =
        std::fs::read_to_string(source("specs/appliance.schema.json")).unwrap_or_default();
    assert!(
        now == checked_in,
        "renew it: cargo run -q -- schema > specs/appliance.schema.json"
    );
}

/// Mistakes that a schema of one value at a time cannot express.
const BEYOND_THE_SCHEMA: [(&str, &str); 12] = [
    ("boot-memory-too-little", "it compares sizes"),
    ("boot-ports-without-network", "it concerns two keys"),
    ("changelog-no-such-day", "it knows the calendar"),
    ("changelog-oldest-first", "it compares entries"),
    ("duplicate-key", "it is a mistake of YAML"),
    ("file-source-directory", "it looks at the file system"),
    ("file-source-missing", "it looks at the file system"),
    ("file-source-outside", "it looks at the file system"),
    ("file-twice", "it compares entries"),
    ("yaml-not-utf8-safe", "it is a mistake of YAML"),
    ("yaml-tab", "it is a mistake of YAML"),
    ("yaml-two-documents", "it is a mistake of YAML"),
];

const VALIDATE: &str = "
import json, jsonschema, sys
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
for name, instance in json.load(sys.stdin):
    errors = [error.message for error in validator.iter_errors(instance)]
    print(json.dumps([name, errors]))
";

/// What python3-jsonschema finds wrong with each description.
fn validate(descriptions: &[(String, String)]) -> Vec<(String, Vec<String>)> {
    let instances: Vec<(&String, Value)> = descriptions
        .iter()
        .filter_map(|(name, text)| Some((name, serde_yaml::from_str(text).ok()?)))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("instances.json");
    std::fs::write(&input, serde_json::to_vec(&instances).unwrap()).unwrap();
    let answers = run(Command::new("python3")
        .args(["-c", VALIDATE])
        .arg(source("specs/appliance.schema.json"))
        .stdin(std::fs::File::open(input).unwrap()));
    answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_schema_accepts_what_is_good_and_rejects_what_it_can_see() {
    let python = Command::new("python3")
        .args(["-c", "import jsonschema"])
        .output();
    if !python.is_ok_and(|output| output.status.success()) {
        skip("Python's module `jsonschema` is missing");
        return;
    }
    let read = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (
            name,
            String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned(),
        )
    };
    let dir = tempfile::tempdir().unwrap();
    run(freezedry().args(["new", "start"]).current_dir(dir.path()));
    let mut good = named("tests/host-descriptions", "yaml");
    good.push(dir.path().join("start/appliance.yaml"));
    let examples = source("examples").read_dir().unwrap();
    good.extend(examples.map(|entry| entry.unwrap().path().join("appliance.yaml")));
    let mut good: Vec<_> = good.iter().map(|path| read(path)).collect();
    let readme = std::fs::read_to_string(source("README.md")).unwrap();
    let yaml = readme
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    good.push(("README".into(), yaml.into()));
    let number = good.len();
    let verdicts = validate(&good);
    assert_eq!(verdicts.len(), number);
    for (name, errors) in verdicts {
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }

    let bad: Vec<_> = named("tests/descriptions", "yaml")
        .iter()
        .map(|path| read(path))
        .collect();
    let mut accepted: Vec<String> = validate(&bad)
        .into_iter()
        .filter_map(|(name, errors)| errors.is_empty().then_some(name))
        .collect();
    accepted.retain(|name| !BEYOND_THE_SCHEMA.iter().any(|(known, _)| known == name));
    assert_eq!(accepted, [""; 0], "the schema accepts these");
}

#[test]
fn manual_pages_are_clean_and_there_is_one_for_each_command() {
    if !require(&["man"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    run(freezedry().arg("man").arg(dir.path()));
    let help = run(freezedry().arg("--help"));
    let commands = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let mut pages = vec!["freezedry.1".to_owned(), "appliance.yaml.5".into()];
    // Deeper lines go on with the description of the command before.
    let names = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    pages.extend(
        names
            .filter(|name| !name.is_empty() && *name != "help")
            .map(|name| format!("freezedry-{name}.1")),
    );
    assert!(pages.len() > 8, "{pages:?}");
    for page in pages {
        let path = dir.path().join(&page);
        let output = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(&path)
            .env("MANROFFSEQ", "")
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{page}: {}",
            both(&output)
        );
        assert!(output.stdout.len() > 300, "{page}: {}", both(&output));
        if require(&["mandoc"]) {
            run(Command::new("mandoc")
                .args(["-T", "lint", "-W", "error"])
                .arg(&path));
        }
    }
    let manual = std::fs::read_to_string(dir.path().join("appliance.yaml.5")).unwrap();
    let schema: Value = serde_json::from_str(&run(freezedry().arg("schema"))).unwrap();
    for key in schema["properties"].as_object().unwrap().keys() {
        assert!(manual.contains(&format!("\\fB{key}\\fR (")), "{key}");
    }
}

#[test]
fn completions_work_in_each_shell_that_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let file = |shell: &str| {
        let path = dir.path().join(shell);
        std::fs::write(&path, run(freezedry().args(["completions", shell]))).unwrap();
        path
    };
    let bash = "source \"$0\"; COMP_WORDS=(freezedry reh); COMP_CWORD=1; \
                _freezedry freezedry reh freezedry; echo \"${COMPREPLY[@]}\"";
    if require(&["bash"]) {
        let said = run(Command::new("bash").args(["-euc", bash]).arg(file("bash")));
        assert_eq!(said.trim(), "rehydrate");
    }
    if require(&["zsh"]) {
        // A completion of zsh can only run at a prompt; that it loads and
        // registers is what a script can see.
        let zsh = "autoload -U compinit; compinit -u -d \"$0.dump\"; source \"$0\"; echo ${_comps[freezedry]}";
        let said = run(Command::new("zsh").args(["-fc", zsh]).arg(file("zsh")));
        assert_eq!(said.trim(), "_freezedry");
    }
    if require(&["fish"]) {
        let fish = format!(
            "source {}; complete -C 'freezedry reh'",
            file("fish").display()
        );
        let said = run(Command::new("fish")
            .args(["--no-config", "-c", &fish])
            .env("HOME", dir.path()));
        assert!(said.starts_with("rehydrate\t"), "{said}");
    }
}

/// docs/reference/COMMAND.txt is what `freezedry COMMAND --help` says.
#[test]
fn the_help_that_is_checked_in_is_current() {
    let help = |arguments: &[&str]| {
        run(freezedry()
            .args(arguments)
            .arg("--help")
            .env_remove("COLUMNS"))
    };
    let main = help(&[]);
    let mut wrong = Vec::new();
    compare(&source("docs/reference/freezedry.txt"), &main, &mut wrong);
    let commands = main
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let mut expected = vec!["freezedry".to_owned()];
    for name in commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
    {
        if name.is_empty() || name == "help" {
            continue;
        }
        let file = source("docs/reference").join(format!("{name}.txt"));
        compare(&file, &help(&[name]), &mut wrong);
        expected.push(name.to_owned());
    }
    assert!(
        wrong.is_empty(),
        "renew them: BLESS=1 cargo test --test end_to_end author::the_help\n{}",
        wrong.join("\n")
    );
    for path in named("docs/reference", "txt") {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            expected.contains(&name),
            "{path:?} is of no command; remove it"
        );
    }
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
