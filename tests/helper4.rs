//! supermin 4 as its callers know it: `supermin --names` and `supermin-helper`.
//!
//! `FREEZEDRY_SUPERMIN_HELPER` may name a real `supermin-helper` 4.1 to compare
//! with.

use crate::support::appliance::finish;
use crate::support::{both, brought_along, require, require_root, run, skip};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Prints a line and powers off, wherever it runs.
const INIT: &str = "#!/bin/bash
[ -e /proc/mounts ] || mount -t proc proc /proc
exec >/dev/console 2>&1
echo \"guest: $(stat -f -c %T /) $(cat /etc/debian_version) $(ls /lib/modules)\"
echo o >/proc/sysrq-trigger
sleep 60
";

/// A directory with the programs under their names of old.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["supermin", "supermin-helper", "febootstrap-supermin-helper"] {
            symlink(env!("CARGO_BIN_EXE_freezedry"), dir.path().join(name)).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `name` with `line`, split at blanks, in the workshop.
    fn command(&self, name: &str, line: &str) -> Command {
        let mut command = Command::new(self.path(name));
        command
            .args(line.split_whitespace())
            .current_dir(self.0.path());
        for variable in ["SUPERMIN_KERNEL", "SUPERMIN_MODULES", "SUPERMIN_DTB"] {
            command.env_remove(variable);
        }
        command
    }

    fn helper(&self, line: &str) -> Output {
        self.command("supermin-helper", line).output().unwrap()
    }

    fn put(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A skeleton of supermin 4 in `supermin.d`; `false` where there can be none.
    fn skeleton(&self) -> bool {
        if !require(&["cpio", "gzip"]) || !kernel() {
            return false;
        }
        if !Path::new("/var/lib/dpkg/status").exists() {
            return skip("this is no Debian system");
        }
        std::fs::create_dir_all(self.path("supermin.d")).unwrap();
        run(&mut self.command("supermin", "--names bash coreutils mount -o supermin.d"));
        self.put("init", INIT);
        std::fs::set_permissions(self.path("init"), PermissionsExt::from_mode(0o755)).unwrap();
        self.sh("echo init | cpio --quiet -o -H newc | gzip >supermin.d/init.img");
        true
    }

    fn sh(&self, script: &str) {
        run(Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.0.path()));
    }
}

fn kernel() -> bool {
    let there = Path::new("/boot").read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| {
            let name = entry.unwrap().file_name();
            name.to_string_lossy().starts_with("vmlinuz-")
        })
    });
    there || skip("there is no kernel in /boot")
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", both(output));
}

/// Boots an appliance without `root=`, and returns what its console says.
fn boot(directory: &Path, disk: Option<&str>) -> String {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-m", "1024", "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .args(["-append", "console=ttyS0 panic=-1 quiet"])
        .arg("-kernel")
        .arg(directory.join("kernel"))
        .arg("-initrd")
        .arg(directory.join("initrd"));
    if let Some(disk) = disk {
        let disk = directory.join(disk);
        qemu.arg("-drive").arg(format!(
            "file={},format=raw,if=virtio,snapshot=on",
            disk.display()
        ));
    }
    let output = finish(&mut qemu, b"");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn prepared_built_and_booted_as_libguestfs_1_24_does() {
    let shop = Workshop::new();
    if !require(&["qemu-system-x86_64", "e2fsck"]) || !shop.skeleton() {
        return;
    }
    std::fs::create_dir(shop.path("d")).unwrap();
    let line = "--verbose --copy-kernel -f ext2 --host-cpu x86_64 supermin.d \
                --output-kernel d/kernel --output-initrd d/initrd --output-appliance d/root";
    let output = shop.helper(line);
    succeeds(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in said.lines() {
        let time = line
            .strip_prefix("supermin helper [")
            .unwrap_or_else(|| panic!("{said}"));
        assert_eq!(time.find("ms] "), Some(5), "{line}");
    }
    assert!(output.stdout.is_empty(), "{}", both(&output));
    run(Command::new("e2fsck").arg("-fn").arg(shop.path("d/root")));
    let meta = shop.path("d/kernel").symlink_metadata().unwrap();
    assert!(meta.is_file());
    let console = boot(&shop.path("d"), Some("root"));
    let version = std::fs::read_to_string("/etc/debian_version").unwrap();
    let expected = format!("guest: ext2/ext3 {}", version.trim());
    assert!(console.contains(&expected), "{console}");
}

#[test]
fn one_big_initrd_boots_too() {
    let shop = Workshop::new();
    if !require(&["qemu-system-x86_64"]) || !shop.skeleton() {
        return;
    }
    // A part whose length is no multiple of four, so that ours has to be.
    shop.sh(
        "until [ $(($(stat -c %s supermin.d/init.img) % 4)) != 0 ]; do
             echo '# more' >>init; echo init | cpio --quiet -o -H newc | gzip >supermin.d/init.img
         done",
    );
    std::fs::create_dir(shop.path("out")).unwrap();
    succeeds(&shop.helper("-o out supermin.d"));
    let link = shop.path("out/kernel").read_link().unwrap();
    assert!(
        link.starts_with("/boot") || link.starts_with("/lib/modules"),
        "{link:?}"
    );
    let initrd = std::fs::read(shop.path("out/initrd")).unwrap();
    assert!(initrd.starts_with(&std::fs::read(shop.path("supermin.d/base.img")).unwrap()));
    assert_eq!(initrd.len() % 512, 0);
    assert!(!shop.path("out/appliance").exists());
    let console = boot(&shop.path("out"), None);
    assert!(console.contains("guest: tmpfs "), "{console}");
}

#[test]
fn the_old_command_line_and_the_checksum() {
    let shop = Workshop::new();
    if !kernel() {
        return;
    }
    let file = shop.path("file");
    shop.put("file", "one");
    shop.put(
        "d/hostfiles",
        &format!("{}\n/etc/nothing\n", file.display()),
    );
    let checksum = || {
        let output = shop
            .command("febootstrap-supermin-helper", "-f checksum d x86_64")
            .output()
            .unwrap();
        succeeds(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let first = checksum();
    assert_eq!(first.len(), 65);
    assert!(
        first
            .trim_end()
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
    );
    assert_eq!(checksum(), first);
    // By host CPU, as libguestfs 1.24 has it, the same.
    let output = shop.helper("-f checksum --host-cpu x86_64 d");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), first);
    let output = shop.helper("-f checksum --host-cpu i686 d");
    assert_ne!(String::from_utf8(output.stdout).unwrap(), first);
    // The same size: only the times tell.
    shop.put("file", "two");
    let second = checksum();
    assert_ne!(second, first);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert_ne!(checksum(), second);
    let output = shop.helper("--copy-kernel -f ext2 d x86_64 k i root");
    succeeds(&output);
    for name in ["k", "i", "root"] {
        assert!(shop.path(name).symlink_metadata().unwrap().is_file());
    }
    let mode = |name: &str| shop.path(name).metadata().unwrap().mode() & 0o777;
    // It holds what only its owner may read.
    assert_eq!((mode("i"), mode("root")), (0o644, 0o600));
    let left: Vec<_> = std::fs::read_dir(shop.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_failure_leaves_the_outputs_as_they_were() {
    let shop = Workshop::new();
    if !kernel() {
        return;
    }
    shop.put("d/hostfiles", "/etc/hostname\n");
    for name in ["kernel", "initrd", "appliance"] {
        shop.put(&format!("out/{name}"), "old");
    }
    shop.put("d/oops", "BZh9");
    let output = shop.helper("-f ext2 -o out d");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("`d/oops` is compressed with bzip2"), "{said}");
    for name in ["kernel", "initrd", "appliance"] {
        let content = std::fs::read_to_string(shop.path("out").join(name)).unwrap();
        assert_eq!(content, "old");
    }
    assert_eq!(shop.path("out").read_dir().unwrap().count(), 3);
}

#[test]
fn modules_and_device_trees_as_asked_for() {
    let shop = Workshop::new();
    if !kernel() {
        return;
    }
    shop.put("d/hostfiles", "/etc/hostname\n");
    let output = shop.helper("-v -f checksum --host-cpu x86_64 d");
    let said = String::from_utf8(output.stderr).unwrap();
    let modules = said.lines().find_map(|line| line.split_once("modules = "));
    let dep = Path::new(modules.unwrap().1).join("modules.dep");
    let dep = std::fs::read_to_string(dep).unwrap();
    let names: Vec<&str> = dep
        .lines()
        .filter_map(|line| line.split_once(':')?.0.rsplit('/').next())
        .collect();
    let stem = names[0].split(".ko").next().unwrap();
    shop.put("whitelist", &format!("{stem}.ko\n"));
    shop.put("tree.dtb", "a device tree");
    std::fs::create_dir(shop.path("out")).unwrap();
    let output = shop
        .command(
            "supermin-helper",
            "-k whitelist --dtb any* -o out d --output-dtb tree",
        )
        .env("SUPERMIN_DTB", "tree.dtb")
        .output()
        .unwrap();
    succeeds(&output);
    let tree = std::fs::read_to_string(shop.path("tree")).unwrap();
    assert_eq!(tree, "a device tree");
    let initrd = std::fs::read(shop.path("out/initrd")).unwrap();
    // The name of a member ends with a NUL byte, other than in modules.dep.
    let has = |name: &[u8]| initrd.windows(name.len()).any(|part| part == name);
    assert!(has(b"modules.dep\0") && has(b"etc/hostname\0"));
    assert!(has(format!("/{}\0", names[0]).as_bytes()));
    assert!(!has(format!("/{}\0", names[1]).as_bytes()));
}

/// As kernels of arm64 and riscv64 are packaged: both programs unpack them.
#[test]
fn a_kernel_in_gzip_comes_out_plain() {
    let shop = Workshop::new();
    if !require(&["gzip"]) || !kernel() {
        return;
    }
    shop.put("d/hostfiles", "/etc/hostname\n");
    let output = shop.helper("-v -f ext2 d x86_64 linked initrd root");
    succeeds(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    let modules = said.lines().find_map(|line| line.split_once("modules = "));
    let original = shop.path("linked").read_link().unwrap();
    let name = original.file_name().unwrap().to_str().unwrap();
    shop.sh(&format!("gzip <{} >{name}", original.display()));
    for (program, line, kernel) in [
        (
            "supermin-helper",
            "-f ext2 d x86_64 kernel initrd root",
            "kernel",
        ),
        ("supermin", "--build -f ext2 d -o out", "out/kernel"),
    ] {
        let output = shop
            .command(program, line)
            .env("SUPERMIN_KERNEL", shop.path(name))
            .env("SUPERMIN_MODULES", modules.unwrap().1)
            .output();
        succeeds(&output.unwrap());
        let kernel = shop.path(kernel);
        assert!(!kernel.is_symlink());
        let (made, original) = (std::fs::read(kernel), std::fs::read(&original));
        assert!(made.unwrap() == original.unwrap(), "{program}");
    }
}

#[test]
fn another_user_makes_it_for_root() {
    let shop = Workshop::new();
    if !require_root() || !kernel() {
        return;
    }
    shop.put("d/hostfiles", "/etc/hostname\n");
    for name in ["", "d", "out"] {
        let path = shop.path(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    // Cargo's directory may be closed to others, so a copy runs.
    std::fs::remove_file(shop.path("supermin-helper")).unwrap();
    std::fs::copy(
        env!("CARGO_BIN_EXE_freezedry"),
        shop.path("supermin-helper"),
    )
    .unwrap();
    succeeds(&shop.helper("-u nobody -g 65534 -f ext2 -o out d"));
    for name in ["kernel", "initrd", "appliance"] {
        let meta = shop.path("out").join(name).symlink_metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (65534, 65534));
    }
    // What it may not read ends everything.
    shop.put("secret", "s");
    std::fs::set_permissions(shop.path("secret"), PermissionsExt::from_mode(0o600)).unwrap();
    shop.put(
        "d/hostfiles",
        &format!("{}\n", shop.path("secret").display()),
    );
    let output = shop.helper("-u nobody -f checksum --host-cpu x86_64 d");
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(
        both(&output).contains("you may not read the host file"),
        "{}",
        both(&output)
    );
}

/// Packages bring files that only root may read: those are empty inside and
/// named, also where the package spells the path through a symlink, as `/lib`.
#[test]
fn what_a_package_has_for_root_alone_is_left_empty_and_told() {
    let shop = Workshop::new();
    if !require(&["unshare"]) || !require_root() || !kernel() {
        return;
    }
    if !Path::new("/var/lib/dpkg/status").exists() {
        skip("this is no Debian system");
        return;
    }
    shop.put("real/secret", "s");
    symlink("real", shop.path("link")).unwrap();
    shop.put("d/packages", "freezedry-test\n");
    std::fs::copy(
        env!("CARGO_BIN_EXE_freezedry"),
        shop.path("febootstrap-copy"),
    )
    .unwrap();
    // A database with one package more, for this one command.
    let script = "chmod 755 . d real; chmod 600 real/secret
        cp -a /var/lib/dpkg dpkg
        printf '\\nPackage: freezedry-test\\nStatus: install ok installed\\n\
Architecture: all\\nVersion: 1\\n\\n' >>dpkg/status
        echo $PWD/link/secret >dpkg/info/freezedry-test.list
        mount --bind dpkg /var/lib/dpkg
        exec ./febootstrap-copy supermin-helper -u nobody -f checksum --host-cpu x86_64 d";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-ec", script])
        .current_dir(shop.0.path())
        .output()
        .unwrap();
    succeeds(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    let link = shop.path("link/secret");
    let warning = format!(
        "supermin-helper: warning: {}: Permission denied (ignored)\n",
        link.display()
    );
    assert_eq!(said, warning);
}

#[test]
fn what_it_says_and_how_it_ends() {
    let shop = Workshop::new();
    let version = run(&mut shop.command("supermin-helper", "-V"));
    assert!(version.starts_with("supermin 4."), "{version}");
    let same = run(crate::support::freezedry().args(["supermin-helper", "--version"]));
    assert_eq!(version, same);
    assert!(run(&mut shop.command("supermin-helper", "--help")).contains("--host-cpu CPU"));
    for (line, last) in [
        ("-x", "supermin-helper: invalid option -- 'x'\n"),
        (
            "-f checksum d",
            "supermin-helper: not enough files specified on the command line\n",
        ),
        (
            "-f checksum --host-cpu x86_64 nowhere",
            "supermin-helper: cannot read the skeleton's `nowhere`: No such file or directory (os error 2); \
             give the directory that `freezedry prepare` or `supermin --prepare` made\n",
        ),
    ] {
        let output = shop.helper(line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.ends_with(last), "{line}: {said}");
    }
}

#[test]
fn archives_of_every_kind_make_one_tree() {
    let shop = Workshop::new();
    if !require(&["cpio", "tar", "gzip", "xz"]) {
        return;
    }
    shop.sh(
        "mkdir d; for f in newc crc odc more v7 lzma; do echo $f >$f; done
         echo newc | cpio --quiet -o -H newc | gzip >d/one; echo more | cpio --quiet -o -H newc | xz >>d/one
         echo crc | cpio --quiet -o -H crc >d/two
         echo odc | cpio --quiet -o -H odc | gzip >d/three
         tar --format=v7 -cf d/four v7; tar -cf - lzma | xz --format=lzma >d/five
         tar -cf d/nothing -T /dev/null; printf '# none\\r\\n/etc/hostname\\r\\n' >d/list",
    );
    let out = shop.path("out");
    let output = crate::support::freezedry()
        .args(["rehydrate", "-f", "chroot", "-o"])
        .arg(&out)
        .arg(shop.path("d"))
        .output()
        .unwrap();
    succeeds(&output);
    for name in ["newc", "crc", "odc", "more", "v7", "lzma"] {
        let content = std::fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(content.trim(), name);
    }
    assert!(out.join("etc/hostname").exists());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("line ends of DOS"), "{said}");
}

/// The real program is the judge of the tree in the image.
#[test]
fn the_same_tree_as_the_real_helper() {
    let shop = Workshop::new();
    let Some(real) = brought_along("FREEZEDRY_SUPERMIN_HELPER", "a real supermin-helper 4") else {
        return;
    };
    if !require(&["mount", "sha256sum"]) || !require_root() || !shop.skeleton() {
        return;
    }
    // It knows no compressed base image here, and no directory of modules that
    // is reached through a symlink, as `/lib` is.
    shop.sh(
        "gzip -d <supermin.d/init.img >x; mv x supermin.d/init.img; mkdir -p usr/lib/modules
             find usr | cpio --quiet -o -H newc >supermin.d/modules.img",
    );
    let link = {
        std::fs::create_dir(shop.path("k")).unwrap();
        succeeds(&shop.helper("-o k supermin.d"));
        shop.path("k/kernel").read_link().unwrap()
    };
    let name = link.file_name().unwrap().to_str().unwrap();
    let Some(version) = name.strip_prefix("vmlinuz-") else {
        skip("the kernel here is not in /boot");
        return;
    };
    let mut trees = Vec::new();
    for (name, program) in [("real", real), ("ours", shop.path("supermin-helper"))] {
        std::fs::create_dir_all(shop.path(name).join("tree")).unwrap();
        run(Command::new(program)
            .args([
                "-f",
                "ext2",
                "--host-cpu",
                "x86_64",
                "supermin.d",
                "-o",
                name,
            ])
            .current_dir(shop.0.path())
            .env("SUPERMIN_KERNEL", &link)
            .env("SUPERMIN_MODULES", format!("/usr/lib/modules/{version}")));
        // The kernel reads it: debugfs does not know the real one's symlinks.
        let tree = shop.path(name).join("tree");
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(shop.path(name).join("appliance"))
            .arg(&tree));
        let script = "find . -path ./lost+found -prune -o -printf '%p %y %m %U:%G %l\\n' \
                      -type f -exec sha256sum {} + | sort";
        let listed = std::panic::catch_unwind(|| {
            run(Command::new("sh").current_dir(&tree).args(["-ec", script]))
        });
        run(Command::new("umount").arg(&tree));
        trees.push(listed.unwrap());
    }
    assert!(trees[0].lines().count() > 1000, "{}", trees[0]);
    assert!(trees[0] == trees[1], "{}", difference(&trees[0], &trees[1]));
}

fn difference(real: &str, ours: &str) -> String {
    let only = |a: &str, b: &str| -> Vec<String> {
        let there: std::collections::BTreeSet<&str> = b.lines().collect();
        let missing = a.lines().filter(|line| !there.contains(line));
        missing.map(str::to_owned).collect()
    };
    format!(
        "only real: {:#?}\nonly ours: {:#?}",
        only(real, ours),
        only(ours, real)
    )
}
