//! Being supermin on an RPM system: rpm and dnf are the judges, in the RPM world.
//!
//! Debian's supermin is built without librpm.  Where `FREEZEDRY_STOCK_SUPERMIN`
//! names one that has it, that one is a judge too.

use crate::support::{both, brought_along, require, require_root, rpm_world, run};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LISTS: [(&str, &[&str]); 3] = [
    ("small", &["bash", "coreutils"]),
    (
        "network",
        &["bash", "iproute", "openssh-clients", "no-such-package"],
    ),
    ("system", &["systemd", "dnf", "e2fsprogs", "kernel-core"]),
];

/// The world, with a directory of the host as `/opt/fd` that holds our program
/// as `supermin`.
struct World {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl World {
    fn new() -> Option<Self> {
        let path = rpm_world()?;
        if !require(&["e2fsck", "mount"]) || !require_root() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_freezedry"), dir.path().join("supermin")).unwrap();
        Some(Self { dir, path })
    }

    /// Runs a script in the directory; its output.
    fn sh(&self, script: &str) -> String {
        let enter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rpm-world/enter-rpm-world");
        let bind = format!("{}:/opt/fd", self.dir.path().display());
        let mut command = Command::new(enter);
        command
            .args(["--bind", &bind, "--chdir", "/opt/fd"])
            .arg(&self.path);
        run(command.args(["sh", "-ec", script]).stdin(Stdio::null()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Prepares and builds `packages` in both formats.
    fn build(&self, program: &str, name: &str, packages: &[&str]) {
        let list = packages.join(" ");
        self.sh(&format!(
            "./{program} --prepare --use-installed -o {name}.d {list}
             for format in ext2 chroot; do
                 ./{program} --build --include-packagelist --copy-kernel -f $format {name}.d -o {name}.$format
             done"
        ));
    }
}

/// The lines of a file, as a set.
fn lines(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    text.lines().map(str::to_owned).collect()
}

/// What is required of the package set: whatever a package of it requires is
/// provided by one of it, if by any that is installed; and nothing is in it that
/// dnf does not find too.
#[test]
fn rpm_and_dnf_agree_with_the_package_set() {
    let Some(world) = World::new() else { return };
    for (name, packages) in LISTS {
        let list = packages.join(" ");
        world.sh(&format!(
            "./supermin --prepare --use-installed -o {name}.d {list}
             ./supermin --build --include-packagelist -f chroot {name}.d -o {name}.chroot"
        ));
        let ours = lines(&world.path(&format!("{name}.chroot/packagelist")));
        std::fs::write(
            world.path("set"),
            ours.iter().map(|p| format!("{p}\n")).collect::<String>(),
        )
        .unwrap();
        // supermin shows an epoch, rpm's own name of a package does not.
        let answers = world.sh(
            "xargs rpm -q --qf '[%{REQUIRENAME}\\n]' <set | sort -u | grep -v '^rpmlib(' | grep -v '^(' |
             while read -r capability; do
                 echo \"C $capability\"
                 rpm -q --whatprovides --qf 'P %{NAME}-%{EVR}.%{ARCH}\\n' \"$capability\" || :
             done",
        );
        let mut providers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut capability = "";
        for line in answers.lines() {
            match line.split_once(' ') {
                Some(("C", name)) => {
                    capability = name;
                    providers.insert(name, Vec::new());
                }
                Some(("P", package)) => providers.get_mut(capability).unwrap().push(package),
                _ => {} // rpm's word that nobody provides it
            }
        }
        assert!(providers.len() > 20, "{answers}");
        for (capability, installed) in providers {
            let satisfied = installed.iter().any(|package| ours.contains(*package));
            assert!(
                installed.is_empty() || satisfied,
                "{name}: {capability} is provided by {installed:?}"
            );
        }
        let named = packages.join(" ");
        let resolved = world.sh(&format!(
            "format='%{{name}}-%{{evr}}.%{{arch}}'
             dnf -q -C repoquery --installed --requires --resolve --recursive --qf \"$format\" {named}
             dnf -q -C repoquery --installed --qf \"$format\" {named}"
        ));
        // dnf shows an epoch of 0 only if it is there, as supermin does.
        let resolved: BTreeSet<&str> = resolved.lines().collect();
        let extra: Vec<_> = ours
            .iter()
            .filter(|package| !resolved.contains(package.as_str()))
            .collect();
        assert!(extra.is_empty(), "{name}: dnf does not find {extra:?}");
    }
}

/// Every file of every package is there as rpm wants it.  Only configuration
/// files may differ: they come from the base image, with owner root, and those
/// that nobody could read are not there at all.
#[test]
fn rpm_verifies_what_was_built() {
    let Some(world) = World::new() else { return };
    for (name, packages) in LISTS {
        world.build("supermin", name, packages);
        let image = world.path(&format!("{name}.ext2/root"));
        run(Command::new("e2fsck").arg("-fn").arg(&image));
        let mount = world.path("mnt");
        std::fs::create_dir_all(&mount).unwrap();
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&mount));
        let verify = |tree: &str| {
            world.sh(&format!(
                "mkdir -p {tree}/usr/lib/sysimage
                 cp -a /usr/lib/sysimage/rpm {tree}/usr/lib/sysimage/
                 rpm --root /opt/fd/{tree} -V --nodeps --noscripts $(cat {tree}/packagelist) || :"
            ))
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (verify("mnt"), verify(&format!("{name}.chroot")))
        }));
        run(Command::new("umount").arg(&mount));
        let (image, chroot) = result.unwrap();
        // `SM5DLUGTP  c /path`, or `missing     c /path`.
        let strange = |said: &str, allowed: &dyn Fn(&str) -> bool| {
            let lines = said.lines().filter(|line| !allowed(line));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        // `/` is 0755, as stock supermin leaves it; the package filesystem has 0555.
        let config = |line: &str| {
            let file = line.get(9..).unwrap_or_default().trim_start();
            line == ".M.......    /" || file.starts_with("c ")
        };
        assert_eq!(strange(&image, &config), [""; 0], "{name}, ext2");
        // In a tree absolute links are made relative.
        let link = |line: &str| config(line) || line.starts_with("....L....");
        assert_eq!(strange(&chroot, &link), [""; 0], "{name}, chroot");
    }
}

/// Without `--use-installed` only packages with changed configuration files are
/// downloaded: in the world, the one with the accounts that were added later.
#[test]
fn what_was_changed_is_downloaded_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let said = world.sh("./supermin --prepare -v -o new.d bash coreutils systemd");
    let asked: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("supermin: changed on this system, so downloading "))
        .collect();
    assert_eq!(asked.len(), 1, "{said}");
    assert!(asked[0].starts_with("setup-"), "{said}");
    let pristine = world.sh("tar -xOzf new.d/base.tar.gz etc/group >ours
         rpm2cpio /srv/rpm-world/setup-*.rpm | cpio -i --quiet --to-stdout ./etc/group >theirs
         cmp ours theirs; cmp -s ours /etc/group || echo other than the host");
    assert_eq!(pristine, "other than the host\n");
}

#[test]
fn an_appliance_made_there_boots() {
    let Some(world) = World::new() else { return };
    if !require(&["qemu-system-x86_64"]) {
        return;
    }
    let init = "#!/bin/bash\nmount -t proc proc /proc 2>/dev/null\n\
        echo \"from the guest: $(uname -s) $(cat /opt/marker) $(bash --version | head -n 1)\"\n\
        echo o >/proc/sysrq-trigger\nsleep 100\n";
    std::fs::create_dir_all(world.path("files/opt")).unwrap();
    std::fs::write(world.path("files/init"), init).unwrap();
    std::fs::write(world.path("files/opt/marker"), "7 times 6").unwrap();
    world.sh("chmod 755 files/init
         ./supermin --prepare --use-installed -o boot.d bash coreutils util-linux mount
         tar -czf boot.d/init.tar.gz -C files init opt
         ./supermin --build --copy-kernel -f ext2 boot.d -o boot");
    let file = |name: &str| world.path("boot").join(name).display().to_string();
    // Without `root=`, as the callers of supermin 4 do.
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        "512",
        "-nodefaults",
        "-display",
        "none",
    ])
    .args([
        "-no-reboot",
        "-serial",
        "stdio",
        "-append",
        "console=ttyS0 panic=-1",
    ])
    .args(["-kernel", &file("kernel"), "-initrd", &file("initrd")])
    .arg("-drive")
    .arg(format!(
        "file={},format=raw,if=virtio,snapshot=on",
        file("root")
    ));
    let output = crate::support::appliance::finish(&mut qemu, b"");
    let said = both(&output);
    assert!(
        said.contains("from the guest: Linux 7 times 6 GNU bash"),
        "{said}"
    );
}

/// The same trees as a supermin that is linked with librpm makes.
#[test]
fn stock_supermin_with_librpm_makes_the_same() {
    let Some(world) = World::new() else { return };
    let Some(stock) = brought_along(
        "FREEZEDRY_STOCK_SUPERMIN",
        "a supermin that is linked with librpm",
    ) else {
        return;
    };
    std::fs::copy(stock, world.path("stock")).unwrap();
    for (name, packages) in LISTS {
        let theirs = format!("{name}-stock");
        world.build("stock", &theirs, packages);
        world.build("supermin", name, packages);
        let list = |name: &str| lines(&world.path(&format!("{name}.d/packages")));
        assert_eq!(list(name), list(&theirs));
        let tree =
            |name: &str| crate::supermin::tree_of_image(&world.path(&format!("{name}.ext2/root")));
        crate::supermin::assert_same(&tree(name), &tree(&theirs), name);
    }
}
