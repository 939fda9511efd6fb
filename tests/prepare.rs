//! Skeletons and packages: the same bytes everywhere, and accepted by others.

use crate::support::appliance::yaml;
use crate::support::{both, freezedry, require, run, skip};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const REST: &str = "packages: [bash, coreutils, mount]\n\
    files:\n  - {path: /opt/data, content: hello}\n  - {path: /opt/tool, source: tool.sh}\n  \
    - {path: /opt/link, symlink: data}\n  - {path: /srv/empty, directory: true}\n\
    host_files: [/etc/ld.so.cache]\nexclude: [/usr/share/doc/*]\nboot: {init: /opt/tool}\n";

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("appliance.yaml"), yaml("prepared", REST)).unwrap();
    std::fs::write(dir.path().join("tool.sh"), "#!/bin/sh\necho tool\n").unwrap();
    run(Command::new("chmod")
        .arg("700")
        .arg(dir.path().join("tool.sh")));
    let path = dir.path().join("appliance.yaml");
    (dir, path)
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = dir.read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                std::fs::read(path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn whatever_the_user_locale_umask_and_time_the_bytes_are_the_same() {
    let (dir, description) = folder();
    let mut outputs = Vec::new();
    let user = if rustix::process::geteuid().is_root() && require(&["setpriv"]) {
        "setpriv --reuid=65534 --regid=65534 --clear-groups"
    } else {
        ""
    };
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(dir.path()));
    let program = dir.path().join("freezedry");
    std::fs::copy(env!("CARGO_BIN_EXE_freezedry"), &program).unwrap();
    for (number, (umask, locale, zone, user)) in [
        ("022", "C", "UTC", ""),
        ("077", "de_DE.UTF-8", "Asia/Kathmandu", user),
    ]
    .iter()
    .enumerate()
    {
        let out = dir.path().join(format!("out{number}"));
        std::fs::create_dir(&out).unwrap();
        run(Command::new("chmod").arg("777").arg(&out));
        // The second build is at another second too.
        std::thread::sleep(std::time::Duration::from_millis(number as u64 * 1100));
        let script = format!(
            "umask {umask}; {user} {program} prepare {yaml} -o {out}/supermin.d && \
             {user} {program} package {yaml} --format deb,rpm -o {out}",
            program = program.display(),
            yaml = description.display(),
            out = out.display(),
        );
        run(Command::new("sh")
            .args(["-c", &script])
            .env("LC_ALL", locale)
            .env("TZ", zone)
            .current_dir("/"));
        let mut files = contents(&out);
        files.extend(contents(&out.join("supermin.d")));
        assert!(files.len() >= 6, "{:?}", files.keys());
        outputs.push(files);
    }
    let names: Vec<_> = outputs[0]
        .keys()
        .filter(|name| outputs[0].get(*name) != outputs[1].get(*name))
        .collect();
    assert!(names.is_empty(), "these differ: {names:?}");
}

#[test]
fn source_date_epoch_is_obeyed_and_checked() {
    let (dir, description) = folder();
    let out = dir.path().join("out");
    let prepare = |epoch: &str| {
        let mut prepare = freezedry();
        prepare.arg("prepare").arg(&description).arg("-o").arg(&out);
        prepare.env("SOURCE_DATE_EPOCH", epoch).output().unwrap()
    };
    assert!(prepare("1000000000").status.success());
    let listing = run(Command::new("tar")
        .args(["--utc", "-tvzf"])
        .arg(out.join("init.tar.gz")));
    assert!(
        listing
            .lines()
            .all(|line| line.contains("2001-09-09 01:46")),
        "{listing}"
    );
    assert!(listing.contains("-rwxr-xr-x 0/0"), "{listing}");
    let output = prepare("yesterday");
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).as_ref()
        ),
        (
            Some(1),
            "freezedry: SOURCE_DATE_EPOCH is `yesterday`; set it to a whole number of seconds since 1970, or unset it\n"
        ),
    );
}

#[test]
fn a_directory_of_somebody_else_is_not_touched() {
    let (dir, description) = folder();
    let out = dir.path().join("precious");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("letter.txt"), "dear").unwrap();
    let output = freezedry()
        .arg("prepare")
        .arg(&description)
        .arg("-o")
        .arg(&out)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(
        both(&output).contains("`letter.txt`, which belongs to no skeleton"),
        "{}",
        both(&output)
    );
    assert_eq!(contents(&out).len(), 1);
}

/// Stock supermin is the judge of the format, and of the package set.
#[test]
fn stock_supermin_accepts_the_skeleton() {
    if !require(&["supermin", "debugfs"]) {
        return;
    }
    let (dir, description) = folder();
    let skeleton = dir.path().join("supermin.d");
    run(freezedry()
        .arg("prepare")
        .arg(&description)
        .arg("-o")
        .arg(&skeleton));
    let out = dir.path().join("appliance.d");
    run(Command::new("supermin")
        .args(["--build", "-f", "ext2", "--include-packagelist"])
        .arg(&skeleton)
        .arg("-o")
        .arg(&out));
    let root = out.join("root");
    let cat = |path: &str| {
        run(Command::new("debugfs")
            .args(["-R", &format!("cat {path}")])
            .arg(&root))
    };
    assert_eq!(cat("/opt/data"), "hello");
    assert!(cat("/init").starts_with("#!/bin/sh\n"));
    assert!(cat("/packagelist").contains("coreutils_"));
    assert!(
        cat("/etc/bash.bashrc").contains("System-wide .bashrc"),
        "no pristine configuration file"
    );
}

#[test]
fn edited_configuration_files_are_left_out_and_named() {
    if !Path::new("/var/lib/dpkg/status").exists() {
        skip("this is no Debian system");
        return;
    }
    let database = freezedry::host::Host::detect(Path::new("/")).unwrap();
    let database = database.packages().unwrap();
    let all: Vec<usize> = (0..database.packages().len()).collect();
    let ours: BTreeMap<PathBuf, bool> = database
        .config_files(&all)
        .unwrap()
        .into_iter()
        .filter(|file| file.state != freezedry::host::ConfigState::Missing)
        .map(|file| {
            (
                file.path,
                file.state == freezedry::host::ConfigState::Edited,
            )
        })
        .collect();
    assert!(!ours.is_empty());
    // dpkg prints only what differs: `??5?????? c /path`.
    let verify = Command::new("dpkg").arg("--verify").output().unwrap();
    let edited: Vec<PathBuf> = String::from_utf8_lossy(&verify.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("??5?????? c ").map(PathBuf::from))
        .collect();
    let found: Vec<PathBuf> = ours
        .into_iter()
        .filter(|(_, edited)| *edited)
        .map(|(path, _)| path)
        .collect();
    let mut edited: Vec<PathBuf> = edited.into_iter().filter(|path| path.exists()).collect();
    edited.sort();
    assert_eq!(found, edited);
}

#[test]
fn what_only_root_may_read_stays_so_and_explain_says_where_all_comes_from() {
    if !crate::support::require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "key").unwrap();
    run(Command::new("chmod").arg("600").arg(&secret));
    let description = dir.path().join("appliance.yaml");
    let skeleton = dir.path().join("supermin.d");
    let mode = |host_files: &str| {
        let rest = format!("packages: [coreutils]\nhost_files: [{host_files}]\n");
        std::fs::write(&description, yaml("secretive", &rest)).unwrap();
        run(freezedry()
            .arg("prepare")
            .arg(&description)
            .arg("-o")
            .arg(&skeleton));
        let out = dir.path().join("appliance.d");
        run(freezedry()
            .arg("rehydrate")
            .arg(&skeleton)
            .arg("-o")
            .arg(&out));
        run(Command::new("e2fsck").arg("-fn").arg(out.join("root")));
        let meta = out.join("root").metadata().unwrap();
        std::os::unix::fs::MetadataExt::mode(&meta) & 0o777
    };
    assert_eq!(mode("/etc/hostname"), 0o644);
    assert_eq!(mode(&secret.display().to_string()), 0o600);
    let plan = run(freezedry().arg("rehydrate").arg("--explain").arg(&skeleton));
    for line in [
        "/init <- skeleton init.tar.gz",
        "/usr/bin/true <- package coreutils",
        "/secret <- hostfiles",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
}

/// Two programs' word for the same tree: a plan as a chroot and as an image.
#[test]
fn a_chroot_is_what_the_image_is() {
    if !crate::support::require_root() || !require(&["mount", "diff"]) {
        return;
    }
    let (dir, description) = folder();
    let skeleton = dir.path().join("supermin.d");
    run(freezedry()
        .arg("prepare")
        .arg(&description)
        .arg("-o")
        .arg(&skeleton));
    let [tree, appliance, mount] = ["tree", "appliance.d", "mnt"].map(|name| dir.path().join(name));
    run(freezedry()
        .args(["rehydrate", "--format=chroot"])
        .arg(&skeleton)
        .arg("-o")
        .arg(&tree));
    run(freezedry()
        .arg("rehydrate")
        .arg(&skeleton)
        .arg("-o")
        .arg(&appliance));
    std::fs::create_dir(&mount).unwrap();
    run(Command::new("mount")
        .args(["-o", "loop,ro"])
        .arg(appliance.join("root"))
        .arg(&mount));
    // The time of the tree itself is when it was made, and those of directories
    // change on the host at any moment.
    let list = "cd $1 && find . -mindepth 1 -path ./lost+found -prune -o -type d -printf '%P %y %m %U %G\\n' \
        -o -printf '%P %y %m %U %G %T@ %l\\n' | sort";
    let listing = |root: &Path| run(Command::new("sh").args(["-c", list, "sh"]).arg(root));
    let (first, second) = (listing(&tree), listing(&mount));
    let same = Command::new("diff")
        .args(["-r", "--no-dereference", "-x", "lost+found"])
        .args([&tree, &mount])
        .output();
    run(Command::new("umount").arg(&mount));
    assert!(first.lines().count() > 500, "{first}");
    assert_eq!(first, second);
    let same = same.unwrap();
    assert!(same.status.success(), "{}", both(&same));
}

#[test]
fn a_package_with_a_program_is_for_its_architecture() {
    let (dir, description) = folder();
    std::fs::copy("/bin/true", dir.path().join("tool.sh")).unwrap();
    run(freezedry()
        .args(["package", "--format=deb,rpm"])
        .arg(&description)
        .arg("-o")
        .arg(dir.path()));
    let names: Vec<String> = contents(dir.path()).into_keys().collect();
    assert!(
        names.iter().any(|name| name.ends_with("_amd64.deb")),
        "{names:?}"
    );
    assert!(
        names.iter().any(|name| name.ends_with(".x86_64.rpm")),
        "{names:?}"
    );
}

#[test]
fn a_file_of_the_description_comes_instead_of_a_package_s() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let rest = "packages: [coreutils]\nfiles: [{path: /usr/bin/env, content: \"mine\\n\"}]\n";
    std::fs::write(at("appliance.yaml"), yaml("instead", rest)).unwrap();
    let into = |command: &mut Command, from: &str, to: &str| {
        run(command.arg(at(from)).arg("-o").arg(at(to)));
    };
    into(freezedry().arg("prepare"), "appliance.yaml", "supermin.d");
    into(
        freezedry().args(["rehydrate", "-f", "chroot"]),
        "supermin.d",
        "ours",
    );
    assert_eq!(std::fs::read(at("ours/usr/bin/env")).unwrap(), b"mine\n");
    // supermin's contract is the other way round.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_freezedry"), at("supermin")).unwrap();
    let mut supermin = Command::new(at("supermin"));
    into(
        supermin.args(["--build", "-f", "chroot"]),
        "supermin.d",
        "supermin's",
    );
    let package = std::fs::read("/usr/bin/env").unwrap();
    assert_eq!(
        std::fs::read(at("supermin's/usr/bin/env")).unwrap(),
        package
    );
}
