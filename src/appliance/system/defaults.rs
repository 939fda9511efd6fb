//! Files that no package brings: their maintainer scripts copy or write them
//! when a system is installed.

use super::{file, link};
use crate::appliance::plan::{Entry, Node, Origin};
use crate::appliance::tree::{Parents, Tree, directory};
use std::path::Path;

/// Defaults that packages have elsewhere, and where their scripts copy them to.
const COPIES: [(&str, &str); 6] = [
    ("/usr/share/base-files/profile", "/etc/profile"),
    ("/usr/share/base-files/motd", "/etc/motd"),
    ("/usr/share/base-files/dot.profile", "/root/.profile"),
    ("/usr/share/base-files/dot.bashrc", "/root/.bashrc"),
    ("/usr/share/libc-bin/nsswitch.conf", "/etc/nsswitch.conf"),
    ("/usr/share/openssh/sshd_config", "/etc/ssh/sshd_config"),
];

/// For glibc's own rules, where no package says better.
const NSSWITCH: &str = "\
passwd: files\ngroup: files\nshadow: files\ngshadow: files\nhosts: files dns\n\
networks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n";

/// What Fedora's authselect would write for local accounts alone.
const SYSTEM_AUTH: &str = "\
auth        required      pam_env.so\n\
auth        sufficient    pam_unix.so nullok\n\
auth        required      pam_deny.so\n\
account     required      pam_unix.so\n\
password    sufficient    pam_unix.so nullok shadow use_authtok yescrypt\n\
password    required      pam_deny.so\n\
session     optional      pam_keyinit.so revoke\n\
session     required      pam_limits.so\n\
-session    optional      pam_systemd.so\n\
session     required      pam_unix.so\n";
const POSTLOGIN: &str = "session     optional      pam_umask.so silent\n";

/// Directories of a system at rest.
const DIRECTORIES: [(&str, u16); 7] = [
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/sys", 0o555),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/root", 0o700),
    ("/etc", 0o755),
];

/// Puts in what every system needs.
pub(super) fn apply<P: Parents>(tree: &mut Tree<P>) {
    for (path, mode) in DIRECTORIES {
        let path = Path::new(path);
        if tree.look_up(path).is_none() {
            tree.put(Entry {
                mode,
                ..directory(path.to_owned(), Origin::Generated)
            });
        }
    }
    for (from, to) in COPIES {
        if tree.look_at(Path::new(to)).is_none()
            && let Some(source) = tree.look_up(Path::new(from)).cloned()
        {
            tree.put(Entry {
                path: to.into(),
                origin: Origin::Generated,
                ..source
            });
        }
    }
    shells(tree);
    let os_release = Path::new("/usr/lib/os-release");
    if tree.look_up(os_release).is_some() {
        link(
            tree,
            Path::new("/etc/os-release"),
            Path::new("../usr/lib/os-release"),
        );
    }
}

/// Puts in what a system with systemd, and people who log in, needs besides.
pub(super) fn of_systemd<P: Parents>(tree: &mut Tree<P>) {
    // Empty, not missing: the identity is made at boot, but the system counts
    // as installed, which it is; see machine-id(5).
    file(tree, Path::new("/etc/machine-id"), 0o444, Vec::new());
    link(
        tree,
        Path::new("/etc/mtab"),
        Path::new("../proc/self/mounts"),
    );
    let fstab = "# The root file system is mounted before init runs.\n";
    file(tree, Path::new("/etc/fstab"), 0o644, fstab.into());
    file(
        tree,
        Path::new("/etc/nsswitch.conf"),
        0o644,
        NSSWITCH.into(),
    );
    let name = tree.read(Path::new("/etc/hostname")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    let own = match name.trim() {
        "" => String::new(),
        name => format!("127.0.1.1\t{name}\n"),
    };
    let hosts = format!("127.0.0.1\tlocalhost\n{own}::1\tlocalhost ip6-localhost ip6-loopback\n");
    file(tree, Path::new("/etc/hosts"), 0o644, hosts.into());
    resolver(tree);
    if tree
        .look_up(Path::new("/usr/share/zoneinfo/Etc/UTC"))
        .is_some()
    {
        let zone = Path::new("../usr/share/zoneinfo/Etc/UTC");
        link(tree, Path::new("/etc/localtime"), zone);
    }
    pam(tree);
    let target = Path::new("/usr/lib/systemd/system/multi-user.target");
    let display = Path::new("/etc/systemd/system/display-manager.service");
    if tree.look_at(display).is_none() && tree.look_up(target).is_some() {
        link(
            tree,
            Path::new("/etc/systemd/system/default.target"),
            target,
        );
    }
    updated(tree);
}

/// `/etc/resolv.conf` is written at boot by who sets up the network, and never a
/// link that leads nowhere.
fn resolver<P: Parents>(tree: &mut Tree<P>) {
    let path = Path::new("/etc/resolv.conf");
    let enabled = "/etc/systemd/system/multi-user.target.wants/systemd-resolved.service";
    let enabled_at_sysinit = "/etc/systemd/system/sysinit.target.wants/systemd-resolved.service";
    if [enabled, enabled_at_sysinit]
        .iter()
        .any(|link| tree.look_at(Path::new(link)).is_some())
    {
        link(
            tree,
            path,
            Path::new("../run/systemd/resolve/stub-resolv.conf"),
        );
        return;
    }
    let dangling = matches!(
        tree.look_at(path),
        Some(Entry {
            node: Node::Symlink(_),
            ..
        })
    ) && tree.look_up(path).is_none();
    if dangling || tree.look_at(path).is_none() {
        replace(tree, path, "# Written at boot.\n");
    }
}

/// The stacks that Fedora's login programs include, where they lead nowhere.
fn pam<P: Parents>(tree: &mut Tree<P>) {
    let login = tree.read(Path::new("/etc/pam.d/login")).unwrap_or_default();
    if !String::from_utf8_lossy(&login).contains("system-auth") {
        return;
    }
    for (name, text) in [
        ("system-auth", SYSTEM_AUTH),
        ("password-auth", SYSTEM_AUTH),
        ("postlogin", POSTLOGIN),
    ] {
        let path = Path::new("/etc/pam.d").join(name);
        if tree.look_up(&path).is_none() {
            replace(tree, &path, text);
        }
    }
}

fn replace<P: Parents>(tree: &mut Tree<P>, path: &Path, text: &str) {
    tree.put(super::file_entry(path, 0o644, text.into()));
}

/// Debian's list of login shells, which `update-shells` puts together.
fn shells<P: Parents>(tree: &mut Tree<P>) {
    let Some(list) = tree.read(Path::new("/usr/share/debianutils/shells")) else {
        return;
    };
    let mut text = String::from_utf8_lossy(&list).into_owned();
    for entry in tree.children(Path::new("/usr/share/debianutils/shells.d")) {
        if let Some(bytes) = tree.read(&entry.path) {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    file(tree, Path::new("/etc/shells"), 0o644, text.into());
}

/// Marks `/etc` and `/var` as made for this `/usr`, so that systemd does not
/// make again at boot what is made here: `ConditionNeedsUpdate=` compares the
/// times, see systemd-update-done.service(8).
fn updated<P: Parents>(tree: &mut Tree<P>) {
    let Some(time) = tree.look_up(Path::new("/usr")).map(|entry| entry.mtime) else {
        return;
    };
    for path in ["/etc/.updated", "/var/.updated"] {
        let text = format!("# Made by Freezedry.\nTIMESTAMP_NSEC={time}000000000\n");
        tree.put(Entry {
            mtime: time,
            ..super::file_entry(Path::new(path), 0o644, text.into())
        });
    }
}
