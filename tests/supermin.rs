//! Being supermin: stock supermin is the judge, side by side on this system.

use crate::support::{both, require, require_root, run, skip};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

/// libguestfs' own skeleton, where Debian's package has it.
const LIBGUESTFS: &str = "/usr/lib/x86_64-linux-gnu/guestfs/supermin.d";

/// Our program under supermin's name.
pub(crate) fn supermin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freezedry"));
    command.arg("supermin");
    command
}

pub(crate) fn stock() -> Command {
    Command::new("supermin")
}

/// Whether stock supermin is here and works: it knows only some systems.
pub(crate) fn comparable() -> bool {
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
    let sh = |script: &str| run(Command::new("sh").args(["-c", script, "sh"]).arg(root));
    // Symlinks have no mode worth comparing, directories no size.
    let listing = sh("cd \"$1\" && find . -path ./lost+found -prune -o \
        -type f -printf '%P\\t%y %m %U %G %s\\n' -o \
        -type l -printf '%P\\t%y %U %G %l\\n' -o -printf '%P\\t%y %m %U %G\\n'");
    let lines = listing.lines().filter_map(|line| line.split_once('\t'));
    let mut tree: BTreeMap<String, String> = lines
        .map(|(path, what)| (path.to_owned(), what.to_owned()))
        .collect();
    let sums = sh("cd \"$1\" && find . -type f -exec sha256sum {} +");
    for (sum, path) in sums.lines().filter_map(|line| line.split_once("  ./")) {
        if let Some(what) = tree.get_mut(path) {
            what.push(' ');
            what.push_str(sum);
        }
    }
    tree
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

/// The tree of a chroot with its links as they are in the `image` of the same
/// plan, after making sure that each is one of those that `relative` makes of
/// the path and the absolute target there.
fn with_links_of(
    image: &BTreeMap<String, String>,
    mut tree: BTreeMap<String, String>,
    relative: impl Fn(&str, &str) -> Vec<String>,
) -> BTreeMap<String, String> {
    for (path, what) in &mut tree {
        let Some(original) = image.get(path).filter(|_| what.starts_with("l ")) else {
            continue;
        };
        let target = |what: &str| what.splitn(4, ' ').nth(3).unwrap().to_owned();
        let absolute = target(original);
        let expected = if absolute.starts_with('/') {
            relative(path, &absolute)
        } else {
            vec![absolute]
        };
        assert!(
            expected.contains(&target(what)),
            "{path}: {what}, not {expected:?}"
        );
        what.clone_from(original);
    }
    tree
}

/// A link's target as we make it relative: to where the link lies.
fn ours_relative(path: &str, target: &str) -> Vec<String> {
    let climb = "../".repeat(path.matches('/').count());
    vec![format!("{climb}{}", target.trim_start_matches('/'))]
}

/// The same as stock supermin does: it counts the slashes of the path as the
/// package spells it, `/lib64/x`, and not of the place where that leads,
/// `/usr/lib64/x`; and it doubles a slash.
fn theirs_relative(path: &str, target: &str) -> Vec<String> {
    let directory = |name: &&str| {
        let top = name.split('/').next().unwrap_or_default();
        // Of directories that are not links there is but one spelling.
        !top.is_empty() && Path::new("/").join(top).is_symlink()
    };
    let spellings = [Some(path), path.strip_prefix("usr/").filter(directory)];
    let climb = |spelling: &str| "../".repeat(spelling.matches('/').count());
    let spellings = spellings.into_iter().flatten();
    spellings
        .map(|spelling| format!("{}{target}", climb(spelling)))
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
    let mut theirs = with_links_of(&image, tree(&theirs), theirs_relative);
    for (path, what) in &mut theirs {
        if let Some(ours) = image
            .get(path)
            .filter(|ours| ours.starts_with('d') && what.starts_with('d'))
        {
            what.clone_from(ours);
        }
    }
    assert_same(
        &with_links_of(&image, tree(&ours), ours_relative),
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

/// Some file systems hold extended attributes that ext2 has no room for.
#[test]
fn an_attribute_that_is_too_large_is_left_out_and_told() {
    if !require(&["unshare", "setfattr", "getfattr", "debugfs", "e2fsck"]) || !require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "mkdir fs d; mount -t tmpfs tmpfs fs; echo text >fs/file
        setfattr -n user.large -v $(head -c 5000 /dev/zero | tr '\\0' x) fs/file || exit 77
        setfattr -n user.small -v little fs/file
        setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 fs/file
        echo $PWD/fs/file >d/hostfiles
        for format in ext2 chroot; do
            $0 supermin --build -f $format d -o $format
        done
        debugfs -R \"ea_list $PWD/fs/file\" ext2/root 2>&1
        getfattr --absolute-names -m - -d chroot$PWD/fs/file";
    let output = output(
        Command::new("unshare")
            .args(["-m", "sh", "-ec", script])
            .arg(env!("CARGO_BIN_EXE_freezedry"))
            .current_dir(dir.path()),
    );
    let said = both(&output);
    if output.status.code() == Some(77) {
        skip("this kernel's tmpfs has no attributes of users");
        return;
    }
    assert!(output.status.success(), "{said}");
    let lost = format!(
        "supermin: warning: `{}` loses its extended attribute `user.large` of 5000 bytes: \
         it is too large for an image\n",
        dir.path().join("fs/file").display()
    );
    assert_eq!(said.matches(&lost).count(), 2, "{said}");
    for kept in ["user.small", "security.capability"] {
        assert_eq!(said.matches(kept).count(), 2, "{said}");
    }
    assert!(
        !said.contains("user.large (") && !said.contains("user.large="),
        "{said}"
    );
    run(Command::new("e2fsck")
        .arg("-fn")
        .arg(dir.path().join("ext2/root")));
}

/// Archives that come later replace what hard links of earlier ones name: what
/// tar, cpio and stock supermin leave on a disk is what an appliance holds.
#[test]
fn hard_links_are_as_the_archivers_leave_them() {
    if !require(&["tar", "cpio"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let sh = |script: &str| {
        run(Command::new("sh")
            .args(["-ec", script])
            .current_dir(dir.path()))
    };
    // `b` and `c` are other names of an `a` that is replaced, `d` and `e` other
    // names of each other when `d` is replaced, `f` becomes a name of the new `a`.
    let make = "mkdir in && cd in && echo old >a && ln a b && ln a c && echo two >d && ln d e
        PACK 1 a b c d e
        rm a d && echo new >a && echo 2nd >d && ln a f
        PACK 2 a d f";
    let tar = "pack() { name=$1; shift; tar -cf ../x/$name \"$@\"; }; mkdir x; ";
    let cpio = "pack() { name=$1; shift; printf '%s\\n' \"$@\" | \
        cpio --quiet -o -H newc >../x/$name; }; mkdir x; ";
    for (pack, unpack) in [
        (tar, "tar -xf ../x/1; tar -xf ../x/2"),
        (cpio, "cpio --quiet -iu <../x/1; cpio --quiet -iu <../x/2"),
    ] {
        sh("rm -rf in x out ours theirs");
        sh(&format!("{pack}{}", make.replace("PACK", "pack")));
        sh(&format!("mkdir out; cd out; {unpack}"));
        let built = |mut program: Command, out: &str| {
            let words = ["--build", "-f", "chroot", "x", "-o", out];
            run(program.args(words).current_dir(dir.path()));
        };
        built(supermin(), "ours");
        let expected = tree_with_names(&dir.path().join("out"));
        assert!(expected["b"].ends_with("b c"), "{expected:?}");
        assert_eq!(tree_with_names(&dir.path().join("ours")), expected);
        // It knows no cpio, and only some systems.
        if pack == tar && comparable() {
            built(stock(), "theirs");
            assert_eq!(tree_with_names(&dir.path().join("theirs")), expected);
        }
    }
}

/// The files of a directory: content, and all names of the same file.
fn tree_with_names(root: &Path) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for entry in root.read_dir().unwrap() {
        let entry = entry.unwrap();
        let content = std::fs::read_to_string(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        files.insert(name, (content, entry.metadata().unwrap().ino()));
    }
    let names = |inode: u64| -> Vec<&str> {
        let same = files.iter().filter(|(_, (_, other))| *other == inode);
        same.map(|(name, _)| name.as_str()).collect()
    };
    files
        .iter()
        .map(|(name, (content, inode))| {
            let names = names(*inode).join(" ");
            (name.clone(), format!("{} {names}", content.trim()))
        })
        .collect()
}
