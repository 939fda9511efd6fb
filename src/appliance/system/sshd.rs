//! Keys of the SSH server: made at boot, as every machine has its own.

use super::file;
use crate::appliance::tree::{Parents, Tree};
use std::path::Path;

/// Debian's packages make the keys when they are installed, and have no unit
/// that does it.
const UNIT: &str = "\
[Unit]
Description=Keys of the SSH server
Before=ssh.service sshd.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
";
const NAME: &str = "freezedry-ssh-keys.service";

/// Puts in a unit that makes the keys, where the packages bring none.
pub(super) fn host_keys<P: Parents>(tree: &mut Tree<P>) {
    let there = |path: &str| tree.look_up(Path::new(path)).is_some();
    let own = [
        "sshd-keygen.target",
        "sshd-keygen.service",
        "sshd-keygen@.service",
        "sshdgenkeys.service",
    ];
    let own = own
        .iter()
        .any(|unit| there(&format!("/usr/lib/systemd/system/{unit}")));
    if there("/usr/sbin/sshd") && there("/usr/bin/ssh-keygen") && !own {
        let directory = Path::new("/etc/systemd/system");
        file(tree, &directory.join(NAME), 0o644, UNIT.into());
        // Not left to presets: without keys no server starts.
        let wants = directory.join("multi-user.target.wants").join(NAME);
        super::link(tree, &wants, &directory.join(NAME));
    }
}
