//! Whole systems: what the scriptlets of packages would have done, with
//! systemd's own tools as the judges, and a login at the console.

use crate::support::appliance::{Appliance, Engine, yaml};
use crate::support::console::Console;
use crate::support::{freezedry, require, require_root, run};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const DEMO: &str = include_str!("../a-fedora-appliance/appliance.yaml");

/// The demo as a tree, rehydrated by root on this Debian host; and a copy.
fn trees() -> Option<(tempfile::TempDir, PathBuf, PathBuf)> {
    let tools = [
        "systemd-sysusers",
        "systemd-tmpfiles",
        "systemctl",
        "dpkg-query",
    ];
    if !require(&tools) || !require_root() {
        return None;
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("appliance.yaml"), DEMO).unwrap();
    run(freezedry()
        .arg("prepare")
        .arg("-o")
        .arg(at("skeleton"))
        .arg(at("appliance.yaml")));
    let rehydrate = ["rehydrate", "-f", "chroot", "-o"];
    run(freezedry()
        .args(rehydrate)
        .arg(at("ours"))
        .arg(at("skeleton")));
    run(Command::new("cp")
        .arg("-a")
        .arg(at("ours"))
        .arg(at("theirs")));
    let (ours, theirs) = (at("ours"), at("theirs"));
    Some((dir, ours, theirs))
}

/// Every path below `root`, with kind, mode, owner and target.
fn listing(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                ahead.push(path.clone());
            }
            let target = path.read_link().unwrap_or_default();
            let inside = path.strip_prefix(root).unwrap();
            found.insert(format!(
                "/{} {:o} {}:{} {}",
                inside.display(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                // The package says /lib, which is the same place.
                target
                    .display()
                    .to_string()
                    .replace("/usr/lib/systemd", "/lib/systemd")
            ));
        }
    }
    found
}

fn difference(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Vec<String> {
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>, mark: &str| -> Vec<String> {
        a.difference(b)
            .map(|line| format!("{mark}{line}"))
            .collect()
    };
    [only(ours, theirs, "-"), only(theirs, ours, "+")].concat()
}

#[test]
fn systemd_finds_nothing_left_to_do() {
    let Some((_dir, ours, theirs)) = trees() else {
        return;
    };
    let passwd = std::fs::read_to_string(ours.join("etc/passwd")).unwrap();
    assert!(
        passwd.starts_with("root:x:0:0:root:/root:/bin/bash\n"),
        "{passwd}"
    );
    assert!(passwd.contains("\nmessagebus:x:"), "{passwd}");
    let shadow = std::fs::read_to_string(ours.join("etc/shadow")).unwrap();
    for line in shadow.lines() {
        let password = line.split(':').nth(1).unwrap();
        let expected = if line.starts_with("root:") { "" } else { "!*" };
        assert_eq!(password, expected, "{line}");
    }
    let awk = run(Command::new("chroot")
        .arg(&ours)
        .args(["/usr/bin/awk", "BEGIN{print 6*7}"]));
    assert_eq!(awk, "42\n");

    let accounts = |root: &Path| {
        ["passwd", "group", "shadow", "gshadow"]
            .map(|name| std::fs::read_to_string(root.join("etc").join(name)).unwrap())
    };
    let root = format!("--root={}", theirs.display());
    run(Command::new("systemd-sysusers").arg(&root));
    assert_eq!(accounts(&ours), accounts(&theirs));

    let transient = ["/run", "/tmp", "/dev", "/proc", "/sys"];
    let prefixes = transient.map(|prefix| format!("--exclude-prefix={prefix}"));
    let output = Command::new("systemd-tmpfiles")
        .args([&root, "--create"])
        .args(prefixes)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (mine, judged) = (listing(&ours), listing(&theirs));
    // The lock of systemd-sysusers itself.
    let lock = "+/etc/.pwd.lock 100600 0:0 ";
    assert_eq!(difference(&mine, &judged), [lock]);
}

#[test]
fn units_are_enabled_as_by_preset_all() {
    let Some((_dir, ours, theirs)) = trees() else {
        return;
    };
    let units = |root: &Path| -> BTreeSet<String> {
        let lines = listing(&root.join("etc/systemd/system"));
        lines
            .into_iter()
            .filter(|line| line.contains(" 120777 "))
            .collect()
    };
    let mine = units(&ours);
    let directory = theirs.join("etc/systemd/system");
    for line in &mine {
        let path = line.split(' ').next().unwrap();
        std::fs::remove_file(directory.join(&path[1..])).unwrap();
    }
    let root = format!("--root={}", theirs.display());
    run(Command::new("systemctl").args([&root, "preset-all"]));
    for line in difference(&mine, &units(&theirs)) {
        // Where no preset says anything, systemd enables a unit, and Debian's
        // maintainer scripts do what their authors chose.
        let allowed = [
            "-/default.target ",
            "-/multi-user.target.wants/freezedry-ssh-keys.service ",
            "+/multi-user.target.wants/remote-veritysetup.target ",
            "+/sysinit.target.wants/systemd-sysext.service ",
            "+/sockets.target.wants/ssh.socket ",
            "+/multi-user.target.wants/rsync.service ",
        ];
        assert!(
            allowed.iter().any(|start| line.starts_with(start)),
            "{line}"
        );
    }
    assert!(
        mine.iter()
            .any(|line| line.contains("getty.target.wants/getty@tty1.service "))
    );
}

#[test]
fn pam_is_as_pam_auth_update_has_it() {
    let Some((_dir, ours, theirs)) = trees() else {
        return;
    };
    let names = [
        "account",
        "auth",
        "password",
        "session",
        "session-noninteractive",
    ]
    .map(|name| format!("etc/pam.d/common-{name}"));
    for name in &names {
        std::fs::remove_file(theirs.join(name)).unwrap();
    }
    let output = Command::new("chroot")
        .arg(&theirs)
        .args(["/usr/sbin/pam-auth-update", "--package", "--force"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    for name in &names {
        let modules = |root: &Path| -> Vec<String> {
            let text = std::fs::read_to_string(root.join(name)).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            words.filter(|line| !line.is_empty()).collect()
        };
        assert_eq!(modules(&ours), modules(&theirs), "{name}");
    }
}

/// Logs in as root, without a password.
pub(crate) fn log_in(console: &mut Console) {
    console.expect(" login: ");
    console.type_line("root");
    // The prompt of a shell; the greeting before it has none.
    console.expect("# ");
}

/// What has to hold in every whole system.  `units` may fail, each for a reason
/// that its test gives.
pub(crate) fn examine(console: &mut Console, units: &[&str]) {
    let (_, state) = console.run("systemctl is-system-running --wait");
    let failed = console.succeed("systemctl list-units --failed --plain --no-legend --no-pager");
    let failed: Vec<&str> = failed.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(failed.iter().all(|unit| units.contains(unit)), "{failed:?}");
    let expected = if failed.is_empty() {
        "running"
    } else {
        "degraded"
    };
    assert_eq!(state, expected);

    // The host's loopback address is behind the gateway of qemu's network.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        use std::io::Write;
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"hello from the host\n").unwrap();
    });
    let hello = console.succeed(&format!("cat </dev/tcp/10.0.2.2/{port}"));
    assert_eq!(hello, "hello from the host");
    server.join().unwrap();
    let address = console.succeed("ip -brief address show scope global");
    assert!(address.contains("10.0.2.15/24"), "{address}");

    // Everything is mounted once, but for what systemd mounts on demand.
    assert_eq!(
        console.succeed("grep -v autofs /proc/mounts | cut -d' ' -f2 | sort | uniq -d"),
        ""
    );
    assert_eq!(
        console.succeed("cat /etc/machine-id | tr -d 0-9a-f | wc -c"),
        "1"
    );
}

#[test]
fn scriptlets_run_once_and_are_told_of() {
    let rest = "packages: {debian: [bash, coreutils, kmod, readline-common, libgcrypt20]}\n\
        files: [{path: /usr/lib/freezedry/scriptlets/9999-broken.postinst, mode: '0755', content: \"#!/bin/sh\\necho $1; exit 3\\n\"}]\n\
        scriptlets: run\n\
        boot: {init: systemd, memory: 512M, modules: all, root_password: locked, autologin: true}\n";
    let Some(appliance) = Appliance::of("scripted", &yaml("scripted", rest), Engine::Freezedry)
    else {
        return;
    };
    let mut console = Console::open(&mut appliance.boot());
    console.expect("freezedry: the scriptlet broken.postinst failed (status 3)");
    console.expect("(automatic login)");
    console.expect("# ");
    let log = console.succeed("cat /var/log/freezedry-firstboot.log");
    let at = |mark: &str| {
        log.find(mark)
            .unwrap_or_else(|| panic!("no {mark} in {log}"))
    };
    // Dependencies first.
    assert!(
        at("== libc6.postinst\n") < at("== kmod.postinst\n"),
        "{log}"
    );
    assert!(
        log.contains("== broken.postinst\nconfigure\n== broken.postinst failed (status 3)\n"),
        "{log}"
    );
    // kmod's own script writes this file.
    assert!(
        console
            .succeed("cat /etc/modules")
            .contains("kernel modules to load at boot")
    );
    let again = "rm /var/log/freezedry-firstboot.log; /usr/lib/freezedry/first-boot; ls /var/log/freezedry*";
    assert_ne!(console.run(again).0, "0");
    assert!(
        console
            .succeed("grep ^root: /etc/shadow")
            .starts_with("root:*:")
    );
    assert_eq!(console.power_off(), Some(0));
}

/// supermin completes nothing; then `/init` does what it can.
#[test]
fn a_system_comes_up_with_stock_supermin_too() {
    let rest = "packages: {debian: [bash, coreutils, mawk]}\nboot: {init: systemd, memory: 512M}\n";
    let Some(appliance) = Appliance::new("stock-system", rest, Engine::Stock) else {
        return;
    };
    let mut console = Console::open(&mut appliance.boot());
    log_in(&mut console);
    let (_, state) = console.run("systemctl is-system-running --wait");
    let failed = console
        .succeed("systemctl --failed --no-legend --no-pager; journalctl -b -p err --no-pager");
    assert_eq!(state, "running", "{failed}");
    assert_eq!(console.succeed("grep -c ^messagebus: /etc/passwd"), "1");
    assert_eq!(console.power_off(), Some(0));
}
