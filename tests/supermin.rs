//! Being supermin: stock supermin is the judge, side by side on this system.

use crate::support::{both, require, require_root, run, skip};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// libguestfs' own skeleton, where Debian's package has it.
const LIBGUESTFS: &str = "/usr/lib/x86_64-linux-gnu/guestfs/supermin.d";

/// Our program under supermin's name.
fn supermin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freezedry"));
    command.arg("supermin");
    command
}

fn stock() -> Command {
    Command::new("supermin")
}

/// Whether stock supermin is here and works: it knows only some systems.
fn comparable() -> bool {
    require(&["supermin"])
        && require_root()
        && (Path::new("/var/lib/dpkg/status").exists() || skip("this is no Debian system"))
}

fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// What a path is: type, mode, owner, and content or link target.
fn tree(root: &Path) -> BTreeMap<String, String> {
    // Symlinks have no mode worth comparing, directories no size.
    let script = "cd \"$1\" && find . -path ./lost+found -prune -o \
        \\( -type f -printf '%P\\t%y %m %U %G %s ' -exec sha256sum {} \\; \\) -o \
        -type l -printf '%P\\t%y %U %G %l\\n' -o -printf '%P\\t%y %m %U %G\\n'";
    let listing = run(Command::new("sh").args(["-c", script, "sh"]).arg(root));
    listing
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(path, what)| {
            // sha256sum repeats the path.
            let what = what.split("  ./").next().unwrap_or(what);
            (path.to_owned(), what.to_owned())
        })
        .collect()
}

/// [`tree`] of the root file system in an image.
pub(crate) fn tree_of_image(image: &Path) -> BTreeMap<String, String> {
    run(Command::new("e2fsck").arg("-fn").arg(image));
    let mount = tempfile::tempdir().unwrap();
    run(Command::new("mount")
        .args(["-o", "loop,ro"])
        .arg(image)
        .arg(mount.path()));
    let found = std::panic::catch_unwind(|| tree(mount.path()));
    run(Command::new("umount").arg(mount.path()));
    found.unwrap()
}

/// Fails with the first differences of two trees.
pub(crate) fn assert_same(
    ours: &BTreeMap<String, String>,
    theirs: &BTreeMap<String, String>,
    what: &str,
) {
    assert!(
        theirs.len() > 100,
        "{what}: hardly anything there: {theirs:?}"
    );
    let paths = ours.keys().chain(theirs.keys());
    let different: Vec<String> = paths
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| {
            format!(
                "{path}: ours {:?}, theirs {:?}",
                ours.get(path),
                theirs.get(path)
            )
        })
        .take(20)
        .collect();
    assert!(different.is_empty(), "{what}: {different:#?}");
}

/// A link's target as stock supermin makes it relative: it counts the slashes
/// of the path as the package spells it, `/lib64/x`, and not of the place where
/// that leads, `/usr/lib64/x`; and it doubles a slash.  Both lead to the same
/// file from inside.
fn without_climbing(tree: BTreeMap<String, String>) -> BTreeMap<String, String> {
    tree.into_iter()
        .map(|(path, what)| match what.strip_prefix('l') {
            Some(link) => {
                let link = link.replace("../", "").replace("//", "/");
                (path, link.replace(" /", " "))
            }
            None => (path, what),
        })
        .collect()
}

/// Package lists of different size, by what they are for.
const LISTS: [(&str, &[&str]); 3] = [
    ("small", &["bash", "coreutils"]),
    ("python", &["python3", "grep", "mount", "no-such-package"]),
    (
        "rescue",
        &[
            "systemd",
            "openssh-client",
            "e2fsprogs",
            "xfsprogs",
            "kmod",
            "iproute2",
            "perl",
            "less",
        ],
    ),
];

/// `--prepare` and `--build` in both formats give what stock supermin gives.
#[test]
fn package_set_and_file_tree_are_those_of_stock_supermin() {
    if !comparable() || !require(&["e2fsck", "tar"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, packages) in LISTS {
        let [ours, theirs] = [supermin(), stock()].map(|mut program| {
            let out = dir
                .path()
                .join(format!("{name}.{}", program.get_args().count()));
            run(program
                .args(["--prepare", "--use-installed", "-o"])
                .arg(&out)
                .args(packages));
            out
        });
        let read = |root: &Path| std::fs::read_to_string(root.join("packages")).unwrap();
        assert_eq!(read(&ours), read(&theirs));
        // Name, mode and size; stock names members `./etc/...`, and its times
        // are the same.
        let members = |root: &Path| {
            let listing = run(Command::new("tar")
                .args(["--numeric-owner", "-tvzf"])
                .arg(root.join("base.tar.gz")));
            let mut lines: Vec<String> = listing
                .lines()
                .map(|line| line.replace(" ./", " "))
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(members(&ours), members(&theirs));
        compare_builds(name, &theirs, dir.path());
    }
    if Path::new(LIBGUESTFS).is_dir() {
        compare_builds("libguestfs", Path::new(LIBGUESTFS), dir.path());
    } else {
        skip("libguestfs' skeleton is not installed");
    }
}

fn compare_builds(name: &str, skeleton: &Path, dir: &Path) {
    let build = |mut program: Command, format: &str, out: &str| {
        let out = dir.join(format!("{name}.{format}.{out}"));
        run(program
            .args(["--build", "--include-packagelist", "-f", format])
            .arg(skeleton)
            .arg("-o")
            .arg(&out));
        out
    };
    let ours = build(supermin(), "ext2", "ours");
    let theirs = build(stock(), "ext2", "theirs");
    let image = tree_of_image(&ours.join("root"));
    assert_same(
        &image,
        &tree_of_image(&theirs.join("root")),
        &format!("{name}, ext2"),
    );
    assert_eq!(
        std::fs::read_link(ours.join("kernel")).unwrap(),
        std::fs::read_link(theirs.join("kernel")).unwrap()
    );
    assert_eq!(modules(&ours), modules(&theirs), "{name}");
    let ours = build(supermin(), "chroot", "ours");
    let theirs = build(stock(), "chroot", "theirs");
    // In an image the owner that a tar file gives to a directory stays, here
    // the host's wins with stock; with ours both formats are the same.
    let mut theirs = without_climbing(tree(&theirs));
    for (path, what) in &mut theirs {
        if let Some(ours) = image
            .get(path)
            .filter(|ours| ours.starts_with('d') && what.starts_with('d'))
        {
            what.clone_from(ours);
        }
    }
    assert_same(
        &without_climbing(tree(&ours)),
        &theirs,
        &format!("{name}, chroot"),
    );
}

/// The names of the modules in an initrd.
fn modules(appliance: &Path) -> Vec<String> {
    let listing = run(Command::new("sh")
        .args(["-c", "cpio -t --quiet <\"$1\"", "sh"])
        .arg(appliance.join("initrd")));
    let mut names: Vec<String> = listing
        .lines()
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "ko"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// What both programs say and how they end, on the same command line.
#[test]
fn exit_codes_are_those_of_stock_supermin() {
    if !require(&["supermin"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad");
    std::fs::write(&bad, "_ is no list\n").unwrap();
    let bad = bad.to_str().unwrap();
    for words in [
        &["--version"][..],
        &["--help"],
        &["-help"],
        &["--list-drivers"],
        &["--version", "--bogus"],
        &["--bogus", "--version"],
        &["-vv"],
        &["-oDIR"],
        &["-o"],
        &["--build=1"],
        &["--dtb", "x"],
        &["--size", "5"],
        &["--size", "5k"],
        &["-f", "ext3"],
        &[],
        &["--build", "--build"],
        &["--build", "x"],
        &["--build", "-f", "ext2", "x"],
        &["--build", "-f", "ext2", "-o", "x"],
        &["--build", "-f", "ext2", "-o", "out", "/no/such/skeleton"],
        &["--build", "-f", "ext2", "-o", "/no/such/directory/out", bad],
        &["--build", "-f", "ext2", "-o", "out", bad],
        &["--prepare", "-f", "ext2", "-o", "x", "bash"],
        &["--prepare", "-o", "x"],
        &["--prepare", "-o", "x", "no-such-package"],
    ] {
        let ours = output(supermin().args(words).current_dir(dir.path()));
        let theirs = output(stock().args(words).current_dir(dir.path()));
        assert_eq!(
            ours.status.code(),
            theirs.status.code(),
            "{words:?}: {}",
            both(&ours)
        );
        assert_eq!(
            ours.stdout.is_empty(),
            theirs.stdout.is_empty(),
            "{words:?}: {}",
            both(&ours)
        );
        assert_eq!(
            ours.stderr.is_empty(),
            theirs.stderr.is_empty(),
            "{words:?}: {}",
            both(&ours)
        );
        let last = String::from_utf8_lossy(&ours.stderr)
            .lines()
            .last()
            .map(str::to_owned);
        assert!(
            last.is_none_or(|line| line.starts_with("supermin: ")),
            "{words:?}: {}",
            both(&ours)
        );
    }
    let names: Vec<_> = dir
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["bad"], "something is left behind");
    // configure scripts read the second word.
    let version = run(supermin().arg("--version"));
    assert!(version.starts_with("supermin 5.3"), "{version}");
    let drivers = |program: &mut Command| run(program.arg("--list-drivers"));
    assert_eq!(drivers(&mut supermin()), drivers(&mut stock()));
}

/// A skeleton of one's own with an `/init`, and the arguments to build it.
struct Skeleton {
    dir: tempfile::TempDir,
}

impl Skeleton {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let skeleton = dir.path().join("supermin.d");
        std::fs::create_dir(&skeleton).unwrap();
        std::fs::write(
            skeleton.join("packages"),
            "bash\ncoreutils\nno-such-package\n",
        )
        .unwrap();
        std::fs::write(
            skeleton.join("excludefiles"),
            "-/usr/share/doc/*\n-/usr/share/locale/*\n",
        )
        .unwrap();
        let made = Self { dir };
        made.write_init("true");
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_init(&self, command: &str) {
        std::fs::write(self.path("init"), format!("#!/bin/bash\n{command}\n")).unwrap();
        run(Command::new("chmod").arg("755").arg(self.path("init")));
        run(Command::new("tar")
            .arg("-czf")
            .arg(self.path("supermin.d/init.tar.gz"))
            .arg("-C")
            .arg(self.dir.path())
            .arg("init"));
    }

    /// As libguestfs calls it.
    fn build(&self) -> Command {
        let mut command = supermin();
        command.args([
            "--build",
            "-v",
            "-v",
            "--if-newer",
            "--copy-kernel",
            "-f",
            "ext2",
            "--host-cpu",
            "x86_64",
        ]);
        command.arg("--lock").arg(self.path("lock"));
        command
            .arg(self.path("supermin.d"))
            .arg("-o")
            .arg(self.path("appliance.d"));
        command
    }

    /// Builds; why it did, or that it did not.
    fn decision(&self, change: impl FnOnce(&mut Command)) -> String {
        let mut command = self.build();
        change(&mut command);
        let said = run(&mut command);
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("supermin: if-newer: "));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

const FRESH: &str = "output does not need rebuilding";
const CHANGED: &str = "rebuilding, because what goes into it has changed";

#[test]
fn an_appliance_is_built_anew_when_what_goes_in_has_changed_and_only_then() {
    let skeleton = Skeleton::new();
    let appliance = skeleton.path("appliance.d");
    assert_eq!(
        skeleton.decision(|_| ()),
        "rebuilding, because there was none yet"
    );
    assert_eq!(skeleton.decision(|_| ()), FRESH);
    // supermin would rebuild: its directory is newer, its content is the same.
    run(Command::new("touch").arg(skeleton.path("supermin.d")));
    assert_eq!(skeleton.decision(|_| ()), FRESH);
    // Something that is looked at has changed, but nothing that goes in: a
    // kernel that is not taken may have come or gone.
    if require_root() {
        run(Command::new("touch").arg("/boot"));
        assert_eq!(skeleton.decision(|_| ()), FRESH);
    }
    // supermin would not notice: a file edited in place.
    skeleton.write_init("exit");
    assert_eq!(skeleton.decision(|_| ()), CHANGED);
    assert_eq!(skeleton.decision(|_| ()), FRESH);
    // An option, and back again.
    assert_eq!(
        skeleton.decision(|command| _ = command.args(["--size", "2G"])),
        CHANGED
    );
    assert_eq!(appliance.join("root").metadata().unwrap().len(), 2 << 30);
    assert_eq!(skeleton.decision(|_| ()), CHANGED);
    // The kernel.
    let kernel = std::fs::read_dir("/boot").unwrap().flatten();
    let mut kernels =
        kernel.filter(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
    if let Some(kernel) = kernels.next() {
        let copy = skeleton.path(kernel.file_name().to_str().unwrap());
        std::fs::copy(kernel.path(), &copy).unwrap();
        let set = |command: &mut Command| _ = command.env("SUPERMIN_KERNEL", &copy);
        assert_eq!(skeleton.decision(set), CHANGED);
        assert_eq!(skeleton.decision(set), FRESH);
    } else {
        skip("there is no kernel in /boot");
    }
    // Damage.
    std::fs::remove_file(appliance.join("initrd")).unwrap();
    assert_eq!(
        skeleton.decision(|_| ()),
        "rebuilding, because it is not whole"
    );
    std::fs::write(appliance.join("root"), "short").unwrap();
    assert_eq!(
        skeleton.decision(|_| ()),
        "rebuilding, because it is not whole"
    );
    // libguestfs touches all three.
    run(Command::new("touch")
        .args(["kernel", "initrd", "root"])
        .current_dir(&appliance));
    assert_eq!(skeleton.decision(|_| ()), FRESH);
}

/// An appliance that stock supermin made has no stamp: its own rule holds.
#[test]
fn what_stock_supermin_built_is_accepted() {
    if !comparable() {
        return;
    }
    let skeleton = Skeleton::new();
    run(stock()
        .args(["--build", "-f", "ext2"])
        .arg(skeleton.path("supermin.d"))
        .arg("-o")
        .arg(skeleton.path("appliance.d")));
    assert_eq!(skeleton.decision(|_| ()), FRESH);
    run(Command::new("touch").arg(skeleton.path("supermin.d")));
    assert_eq!(
        skeleton.decision(|_| ()),
        "rebuilding, because an input is newer"
    );
}

#[test]
fn every_decision_can_be_read() {
    let skeleton = Skeleton::new();
    let said = run(&mut skeleton.build());
    let base = skeleton.dir.path().display();
    for line in [
        "supermin: package handler: debian/dpkg".to_owned(),
        format!("supermin: acquiring lock on {base}/lock"),
        format!(
            "supermin: build: visiting {base}/supermin.d/init.tar.gz type gzip base image (tar)"
        ),
        format!("supermin: build: visiting {base}/supermin.d/packages type uncompressed packages"),
        "supermin: build: not installed here, so ignored: no-such-package".to_owned(),
        "  - /usr/share/doc/bash/copyright".to_owned(),
        "  - /usr/bin/bash".to_owned(),
    ] {
        // On other families the words of the package manager differ.
        if Path::new("/var/lib/dpkg/status").exists() {
            assert!(said.lines().any(|found| found == line), "{line}\n{said}");
        }
    }
    for start in [
        "supermin: kernel: picked vmlinuz /",
        "supermin: kernel: kernel_version ",
        "supermin: kernel: modpath /",
    ] {
        assert!(
            said.lines().any(|line| line.starts_with(start)),
            "{start}\n{said}"
        );
    }
}

/// As when many guests of libguestfs start at once.
#[test]
fn sixteen_at_once_build_once() {
    let skeleton = Skeleton::new();
    let children: Vec<_> = (0..16)
        .map(|_| {
            let mut command = skeleton.build();
            std::thread::spawn(move || run(&mut command))
        })
        .collect();
    let said: Vec<String> = children
        .into_iter()
        .map(|child| child.join().unwrap())
        .collect();
    let built = said
        .iter()
        .filter(|said| said.contains("if-newer: rebuilding"))
        .count();
    assert_eq!(built, 1, "{said:#?}");
}

#[test]
fn whoever_is_killed_no_half_made_appliance_is_taken_or_left() {
    let skeleton = Skeleton::new();
    let root = skeleton.path("appliance.d/root");
    for round in 0..6u64 {
        skeleton.write_init(&format!("echo {round}"));
        let mut children: Vec<_> = (0..16)
            .map(|_| {
                let mut command = skeleton.build();
                command.stdout(std::process::Stdio::null()).spawn().unwrap()
            })
            .collect();
        // At different moments: while they wait, plan, copy and rename.
        for child in children.iter_mut().step_by(3) {
            std::thread::sleep(std::time::Duration::from_millis(7 * round + 3));
            let _ = child.kill(); // it may have ended already
        }
        let killed = children
            .into_iter()
            .map(|mut child| child.wait().unwrap())
            .filter(|status| {
                assert!(status.success() || status.code().is_none(), "{status}");
                status.code().is_none()
            })
            .count();
        assert!(killed <= 6, "{killed}");
        run(Command::new("e2fsck").arg("-fn").arg(&root));
        let init = run(Command::new("debugfs").args(["-R", "cat /init"]).arg(&root));
        assert_eq!(init, format!("#!/bin/bash\necho {round}\n"));
    }
    // What the killed ones left is swept away by the next that builds.
    skeleton.write_init("last");
    assert_eq!(skeleton.decision(|_| ()), CHANGED);
    let mut names: Vec<_> = skeleton
        .dir
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["appliance.d", "init", "lock", "supermin.d"]);
}

/// The lock is of the kind that stock supermin takes: each keeps the other out.
#[test]
fn stock_supermin_and_ours_exclude_each_other() {
    if !comparable() || !require(&["python3"]) {
        return;
    }
    let skeleton = Skeleton::new();
    let lock = skeleton.path("lock");
    let hold = "import fcntl,sys,time\nf=open(sys.argv[1],'w')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint('held',flush=True)\nsys.stdin.read()\n";
    let mut holder = Command::new("python3")
        .args(["-c", hold])
        .arg(&lock)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
    let mut ours = skeleton.build();
    let waiting = std::thread::spawn(move || run(&mut ours));
    let mut theirs = stock();
    theirs.args(["--build", "-f", "ext2", "--lock"]).arg(&lock);
    theirs
        .arg(skeleton.path("supermin.d"))
        .arg("-o")
        .arg(skeleton.path("other.d"));
    let theirs = std::thread::spawn(move || run(&mut theirs));
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(!skeleton.path("appliance.d").exists() && !skeleton.path("other.d").exists());
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(
        waiting
            .join()
            .unwrap()
            .contains("another process holds the lock")
    );
    theirs.join().unwrap();
    assert!(skeleton.path("appliance.d/root").exists() && skeleton.path("other.d/root").exists());
}
