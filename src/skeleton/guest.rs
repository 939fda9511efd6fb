//! What an appliance needs to be booted by us: its `/init`, a few packages, and
//! what the description says of logging in.

use super::Member;
use super::prepare::lines;
use crate::description::{Boot, Description, Init, Scriptlets};
use crate::family::Family;
use crate::node::Node;
use crate::{Result, templates};
use serde_json::json;

const INIT: &str = include_str!("../../templates/init.sh.hbs");
const FIRST_BOOT_SCRIPT: &str = include_str!("../../templates/first-boot.sh");

/// The program that runs the packages' scriptlets at the first boot.  Where a
/// skeleton has it, rehydration puts the scriptlets in.
pub const FIRST_BOOT: &str = "/usr/lib/freezedry/first-boot";

/// Packages that are essential on Debian: every system has them, scriptlets can
/// count on them, and Policy 3.5 wants no dependency on them.
pub const ESSENTIAL: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libc-bin",
    "login",
    "ncurses-base",
    "ncurses-bin",
    "perl-base",
    "sed",
    "sysvinit-utils",
    "tar",
    "util-linux",
];

/// Packages that an appliance needs besides those that its author names: `/init`
/// runs on a shell, coreutils, and mount; a system with systemd lets somebody
/// log in; scriptlets count on what is essential.
pub fn packages(family: Family, description: &Description) -> Vec<&'static str> {
    let mut packages = match family {
        Family::Debian => vec!["coreutils", "dash", "mount"],
        Family::Fedora | Family::Suse | Family::Arch | Family::Alpine => {
            vec!["bash", "coreutils", "util-linux"]
        }
        Family::Other => Vec::new(),
    };
    let systemd = description.boot.init == Init::Systemd;
    if family == Family::Debian && (systemd || description.scriptlets == Scriptlets::Run) {
        packages.extend_from_slice(ESSENTIAL);
    }
    if systemd {
        packages.extend_from_slice(match family {
            Family::Debian => &[
                "dbus",
                "kmod",
                "libpam-runtime",
                "procps",
                "systemd-sysv",
                "udev",
            ],
            Family::Fedora => &["dbus", "kmod", "pam", "setup", "systemd", "systemd-udev"],
            Family::Suse => &["aaa_base", "dbus-1", "kmod", "pam", "systemd", "udev"],
            Family::Arch | Family::Alpine | Family::Other => &[],
        });
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// The files that come with every appliance of `description`.
pub(super) fn members(description: &Description, time: u32) -> Result<Vec<Member>> {
    let text = |path: &str, mode, text: String| Member::file(path, mode, time, text.into_bytes());
    let mut members = vec![text("/init", 0o755, init(description)?)];
    if description.scriptlets == Scriptlets::Run {
        members.push(text(FIRST_BOOT, 0o755, FIRST_BOOT_SCRIPT.to_owned()));
    }
    if !description.boot.authorized_keys.is_empty() {
        let keys = lines(
            "",
            description.boot.authorized_keys.iter().map(String::as_str),
        );
        members.push(Member::new("/root/.ssh", Node::Directory, 0o700, time));
        members.push(Member::file(
            "/root/.ssh/authorized_keys",
            0o600,
            time,
            keys,
        ));
    }
    if description.boot.init == Init::Systemd {
        members.push(text(
            "/etc/hostname",
            0o644,
            format!("{}\n", description.name),
        ));
        members.push(text("/etc/shadow", 0o600, shadow(&description.boot)));
        if description.boot.autologin {
            members.push(text(AUTOLOGIN, 0o644, AUTOLOGIN_TEXT.to_owned()));
        }
    }
    Ok(members)
}

/// The text of `/init`.
fn init(description: &Description) -> Result<String> {
    let command = match &description.boot.init {
        Init::Command(line) => line.as_str(),
        Init::Shell | Init::Systemd => "",
    };
    let data = json!({
        "name": description.name,
        "command": command,
        "systemd": description.boot.init == Init::Systemd,
        "scriptlets": description.scriptlets == Scriptlets::Run,
    });
    templates::render("init.sh.hbs", INIT, &data)
}

/// The line of root, to which rehydration adds the others.  `*` is no password;
/// `!` would lock the account, also for who has a key.
fn shadow(boot: &Boot) -> String {
    let password = if boot.root_without_password { "" } else { "*" };
    format!("root:{password}:::::::\n")
}

const AUTOLOGIN: &str = "/etc/systemd/system/serial-getty@.service.d/autologin.conf";
const AUTOLOGIN_TEXT: &str = "\
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM
";
