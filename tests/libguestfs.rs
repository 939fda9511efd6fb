//! libguestfs, unchanged, on our supermin: in a mount namespace of its own
//! `/usr/bin/supermin`, whose path is compiled into libguestfs, is our program.

use crate::support::{both, require, require_root, run};
use std::path::Path;
use std::process::{Command, Output};

/// Runs `program` of libguestfs with a cache of its own, under TCG.
fn guestfs(program: &str, arguments: &[&str], input: &str, ours: bool) -> Option<Output> {
    if !require(&["supermin", "qemu-system-x86_64", "unshare", program]) || !require_root() {
        return None;
    }
    let cache = tempfile::tempdir().unwrap();
    let script =
        "[ -z \"$OURS\" ] || mount --bind \"$OURS\" /usr/bin/supermin || exit 99; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh", program])
        .args(arguments)
        .env(
            "OURS",
            if ours {
                env!("CARGO_BIN_EXE_freezedry")
            } else {
                ""
            },
        )
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        .env("LIBGUESTFS_CACHEDIR", cache.path());
    Some(crate::support::appliance::finish(
        &mut command,
        input.as_bytes(),
    ))
}

#[test]
fn the_test_tool_is_content() {
    let Some(output) = guestfs("libguestfs-test-tool", &[], "", true) else {
        return;
    };
    let said = both(&output);
    assert!(said.contains("===== TEST FINISHED OK ====="), "{said}");
    assert!(
        said.contains("supermin: version: 5.3.5 (Freezedry"),
        "it ran another supermin: {said}"
    );
}

/// Partitions, file systems, LVM, files in and out: the same answers as with
/// stock supermin.
#[test]
fn a_session_of_guestfish_gives_the_same_answers() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(dir.path().join("data"), &content).unwrap();
    let mut answers = Vec::new();
    for ours in [true, false] {
        let out = dir.path().join(if ours { "ours" } else { "theirs" });
        std::fs::create_dir(&out).unwrap();
        let session = session(dir.path(), &out);
        let Some(output) = guestfs("guestfish", &[], &session, ours) else {
            return;
        };
        assert!(output.status.success(), "ours {ours}: {}", both(&output));
        assert_eq!(
            std::fs::read(out.join("data")).unwrap(),
            content,
            "ours {ours}"
        );
        answers.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    assert_eq!(answers[0], answers[1]);
    let sum = run(Command::new("sha256sum").arg(dir.path().join("data")));
    let sum = sum.split_whitespace().next().unwrap();
    assert_eq!(answers[0].matches(sum).count(), 2, "{}", answers[0]);
}

fn session(dir: &Path, out: &Path) -> String {
    let (dir, out) = (dir.display(), out.display());
    format!(
        "sparse {out}/disk 1500M
run
part-init /dev/sda gpt
part-add /dev/sda p 2048 206847
part-add /dev/sda p 206848 -2048
list-partitions
mkfs ext4 /dev/sda1
pvcreate /dev/sda2
vgcreate group /dev/sda2
lvcreate volume group 700
lvs
mkfs xfs /dev/group/volume
mount /dev/sda1 /
copy-in {dir}/data /
checksum sha256 /data
mkdir /xfs
mount /dev/group/volume /xfs
cp /data /xfs/data
checksum sha256 /xfs/data
filesize /xfs/data
vfs-type /dev/sda1
vfs-type /dev/group/volume
list-filesystems
copy-out /xfs/data {out}
umount-all
fsck ext4 /dev/sda1
"
    )
}
