//! a-fedora-appliance and the examples, installed by the real package managers
//! and booted from there.

use crate::packages::{Root, copy_of, freezedry_rpm, package};
use crate::source_builds::freezedry_deb;
use crate::support::console::Console;
use crate::support::overlay::overlay;
use crate::support::{require, require_root, rpm_world, run, source};
use crate::system::{examine, log_in};
use std::path::Path;
use std::process::Command;

/// The SSH server runs, with keys of its own.
fn examine_ssh(console: &mut Console) {
    let waiting =
        "for i in $(seq 100); do systemctl is-active ssh >/dev/null && break; sleep 1; done";
    console.succeed(&format!("{waiting}; systemctl is-active ssh"));
    let banner = console.succeed("read -r line </dev/tcp/127.0.0.1/22; echo \"$line\"");
    assert!(banner.starts_with("SSH-2.0-"), "{banner}");
}

fn is_small(package: &Path, most: u64) {
    let size = package.metadata().unwrap().len();
    assert!(size <= most, "{package:?} has {size} bytes");
}

fn boot_demo(root: &Root) -> Console {
    let words = ["boot-a-fedora-appliance", "--accel=tcg"];
    let mut console = Console::open(&mut root.command(&words));
    log_in(&mut console);
    examine(&mut console, &[]);
    assert_eq!(
        console.succeed("cat /proc/sys/kernel/hostname"),
        "a-fedora-appliance"
    );
    console
}

#[test]
fn apt_installs_and_purges_every_example_and_the_demo_which_boots() {
    let Some(overlay) = overlay("apt-overlay") else {
        return;
    };
    let root = &overlay.root;
    let dir = tempfile::tempdir().unwrap();
    let [deb, _] = package(&source("a-fedora-appliance/appliance.yaml"), dir.path());
    // On Debian, the signing keys of the archive are among its configuration files.
    is_small(&deb, 135_000);
    let (mut debs, mut names) = (vec![deb], vec!["a-fedora-appliance".to_owned()]);
    for entry in source("examples").read_dir().unwrap() {
        let entry = entry.unwrap();
        let description = entry.path().join("appliance.yaml");
        let name = entry.file_name().into_string().unwrap();
        debs.push(package(&description, &dir.path().join(&name))[0].clone());
        names.push(name);
    }
    let freezedry = root.put(&freezedry_deb(dir.path()));
    let apt = ["apt-get", "-q", "-y"];
    // With what they depend on, so that only their own files are looked at later.
    let mut depends = vec!["supermin".to_owned(), freezedry];
    for deb in &debs {
        let field = run(Command::new("dpkg-deb").arg("-f").arg(deb).arg("Depends"));
        depends.extend(field.split([',', '\n']).filter_map(|one| {
            let name = one.split([' ', '|']).find(|word| !word.is_empty())?;
            (name != "freezedry").then(|| name.to_owned())
        }));
    }
    root.must(&[
        "sh",
        "-c",
        &format!("{} install {}", apt.join(" "), depends.join(" ")),
    ]);
    let before = root.paths();
    let mut install = [
        &apt[..],
        &[
            "--no-remove",
            "--reinstall",
            "--allow-downgrades",
            "install",
        ],
    ]
    .concat();
    let inside: Vec<String> = debs.iter().map(|deb| root.put(deb)).collect();
    install.extend(inside.iter().map(String::as_str));
    root.must(&install);
    for name in &names {
        let help = root.must(&[&format!("boot-{name}"), "--help"]);
        assert!(help.contains("Usage: freezedry boot "), "{name}: {help}");
        assert_eq!(root.must(&["dpkg", "-V", name]), "", "{name}");
    }

    let mut console = boot_demo(root);
    assert!(console.succeed("apt --version").starts_with("apt "));
    // The database lists what is inside, and that is whole.
    assert_eq!(
        console.succeed("dpkg-query -W -f '${Package}\\n' | grep -c ."),
        {
            let skeleton = "/usr/share/freezedry/a-fedora-appliance/supermin.d";
            let plan = root.must(&["freezedry", "rehydrate", "--explain", skeleton]);
            let lists = plan
                .lines()
                .filter(|line| line.contains("/var/lib/dpkg/info/") && line.contains(".list <- "));
            lists.count().to_string()
        }
    );
    assert_eq!(console.succeed("dpkg --audit"), "");
    examine_ssh(&mut console);
    assert_eq!(console.power_off(), Some(0));
    // A command still has the appliance for itself, before any init.
    let command = ["sh", "-c", "id -un; cat /proc/1/comm"];
    let boot = ["boot-a-fedora-appliance", "--accel=tcg", "--"];
    assert_eq!(root.must(&[&boot[..], &command].concat()), "root\ninit\n");

    let mut purge = [&apt[..], &["purge"]].concat();
    purge.extend(names.iter().map(String::as_str));
    root.must(&purge);
    let after = root.paths();
    let left: Vec<_> = after.difference(&before).collect();
    assert_eq!(left, Vec::<&String>::new());
}

#[test]
fn dnf_installs_the_demo_which_boots_in_the_rpm_world() {
    if !require(&["rpmbuild"]) || !require_root() {
        return;
    }
    let Some(world) = rpm_world() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let root = copy_of(&world, "rpm-demo");
    let dnf = [
        "dnf",
        "-q",
        "-y",
        "--disablerepo=*",
        "--setopt=install_weak_deps=False",
    ];
    let freezedry = root.put(&freezedry_rpm(dir.path()));
    root.must(&[&dnf[..], &["install", &freezedry]].concat());

    // The world's packages are cut as Debian's are: what is one package or a
    // dependency on a true Fedora has names of its own there.
    let own = "  fedora: [systemd-sysv, util-linux-login, mount, shadow-utils, ";
    let text = std::fs::read_to_string(source("a-fedora-appliance/appliance.yaml")).unwrap();
    let description = dir.path().join("appliance.yaml");
    std::fs::write(&description, text.replace("  fedora: [", own)).unwrap();
    let description = root.put(&description);
    root.must(&[
        "freezedry",
        "package",
        "--format=rpm",
        "-o",
        "/var/tmp",
        &description,
    ]);
    let rpm = "var/tmp/a-fedora-appliance-2.0-1.noarch.rpm";
    is_small(&root.path.join(rpm), 100_000);
    root.must(&[&dnf[..], &["install", &format!("/{rpm}")]].concat());
    root.must(&["rpm", "-V", "a-fedora-appliance"]);

    let mut console = boot_demo(&root);
    assert!(console.succeed("dnf --version").contains("Installed: dnf-"));
    // RPM lists what is inside, no more: the world has a kernel, the appliance
    // has not; and the files of what it lists are there.
    let listed: usize = console.succeed("rpm -qa | wc -l").parse().unwrap();
    assert!((100..250).contains(&listed), "{listed}");
    assert_ne!(console.run("rpm -q kernel-core").0, "0");
    let verify = "rpm -V --nofiledigest --noconfig bash systemd | grep -v '/usr/share/'; true";
    assert_eq!(console.succeed(verify), "");
    examine_ssh(&mut console);
    assert_eq!(console.power_off(), Some(0));
    root.must(&[
        "dnf",
        "-q",
        "-y",
        "--disablerepo=*",
        "remove",
        "a-fedora-appliance",
    ]);
}
