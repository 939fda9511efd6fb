//! Shared appliances (`rehydrate: at-install`): real package managers install,
//! upgrade and remove them and what they are made of.

use crate::packages::{Root, copy_of, debian, freezedry_rpm, package};
use crate::support::content::{self, rpm};
use crate::support::lint::{lintian_finds_nothing, rpmlint_finds_nothing};
use crate::support::{both, freezedry, require, require_root, rpm_world, run};
use ext4_view::Ext4;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the shared appliance lies in a root.
const STATE: &str = "var/lib/freezedry/shared";
/// Says what the appliance holds.
const TEXT: &str = "usr/share/fd-content/text";
const NOT_USED: &str = "so one of your own is used";

/// Packages an appliance of fd-content; the paths by extension.
fn shared(dir: &Path, release: u32) -> [PathBuf; 2] {
    let text = format!(
        "name: shared\nversion: \"1.0\"\nrelease: {release}\nsummary: Virtual machine for all users\n\
         description: |\n  It is made when it is installed, once for everybody who may log in, and kept\n  \
         as the installed packages are: whenever one of them changes, it is made\n  anew, by the package manager.\n\
         changelog: [{{version: 1.0-{release}, date: 2026-11-24, changes: [New release]}}]\n\
         license: MIT\nmaintainer: Jane Doe <jane@example.org>\nurl: https://example.org\n\
         packages: [bash, coreutils, fd-content]\nrehydrate: at-install\n\
         exclude: [/usr/share/doc/*, /usr/share/locale/*, /usr/share/man/*, /etc/skel/*, /etc/debconf.conf]\n\
         boot: {{init: cat /{TEXT}, memory: 256M}}\n"
    );
    let out = dir.join(format!("shared-{release}"));
    std::fs::create_dir_all(&out).unwrap();
    let description = out.join("appliance.yaml");
    std::fs::write(&description, text).unwrap();
    package(&description, &out)
}

#[test]
fn linters_are_content_with_an_appliance_that_is_shared() {
    if !require(&["lintian", "rpmlint", "rpm", "dpkg-deb"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [deb, rpm] = shared(dir.path(), 1);
    lintian_finds_nothing(&[deb]);
    rpmlint_finds_nothing(&[rpm]);
}

#[test]
fn an_appliance_that_is_made_at_boot_has_no_scripts() {
    if !require(&["rpm", "dpkg-deb"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-vm/appliance.yaml");
    let [deb, rpm] = package(&hello, dir.path());
    let scripts = ["-qp", "--scripts", "--triggers", "--filetriggers"];
    assert_eq!(run(Command::new("rpm").args(scripts).arg(rpm)), "");
    let control = dir.path().join("control");
    run(Command::new("dpkg-deb").arg("-e").arg(deb).arg(&control));
    let mut members: Vec<_> = control.read_dir().unwrap().flatten().collect();
    members.sort_by_key(std::fs::DirEntry::file_name);
    let names: Vec<_> = members.iter().map(std::fs::DirEntry::file_name).collect();
    assert_eq!(names, ["control", "md5sums"]);
}

#[test]
fn without_freezedry_the_scripts_say_so_and_fail_nothing() {
    if !require(&["rpm", "dpkg-deb"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [deb, rpm] = shared(dir.path(), 1);
    let control = dir.path().join("control");
    run(Command::new("dpkg-deb").arg("-e").arg(deb).arg(&control));
    let script = |tag: &str| run(Command::new("rpm").args(["-qp", "--qf", tag]).arg(&rpm));
    let postinst = std::fs::read_to_string(control.join("postinst")).unwrap();
    let nowhere = dir.path().join("nowhere");
    let says = |script: &str, argument: &str| {
        let mut sh = Command::new("/bin/sh");
        run(sh
            .args(["-c", script, "sh", argument])
            .env("PATH", &nowhere))
    };
    let told = "shared: without Freezedry there is no appliance for all; \
                boot-shared makes one for each user\n";
    assert_eq!(says(&postinst, "configure"), told);
    assert_eq!(says(&script("%{POSTTRANS}"), "1"), told);
    // Not at every change of any package.
    assert_eq!(says(&postinst, "triggered"), "");
    assert_eq!(says(&script("[%{TRANSFILETRIGGERSCRIPTS}\n]"), "1"), "");
}

/// What tells one making of an appliance from the next.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    inode: u64,
    modified: (i64, i64),
    plan: String,
}

fn made(root: &Root) -> Made {
    let state = root.path.join(STATE);
    let image = state.join("appliance/root").metadata().unwrap();
    let stamp = std::fs::read_to_string(state.join("appliance/stamp.json")).unwrap();
    Made {
        inode: image.ino(),
        modified: (image.mtime(), image.mtime_nsec()),
        plan: stamp.split("\"plan\":").nth(1).unwrap().to_owned(),
    }
}

/// What the image has at `path`.
fn inside(root: &Root, path: &str) -> Option<Vec<u8>> {
    let image = root.path.join(STATE).join("appliance/root");
    let image = Ext4::load_from_path(image).unwrap();
    image.read(&*format!("/{path}")).ok()
}

/// Boots as a user who is not root: what the guest and what freezedry said.
fn boot(root: &Root) -> [String; 2] {
    let user = "cd /; runuser -u nobody -- env FREEZEDRY_CACHE_DIR=/var/tmp/nobody boot-shared --accel tcg";
    let output = root.run(&["sh", "-c", user]);
    assert!(output.status.success(), "{}", both(&output));
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
}

/// The shared appliance is as an unprivileged user may have it, and is used.
fn everybody_boots_it(root: &Root) {
    let state = root.path.join(STATE);
    for (path, mode) in [
        ("", 0o755),
        ("appliance", 0o755),
        ("appliance/kernel", 0o644),
        ("appliance/initrd", 0o644),
        ("appliance/root", 0o644),
        ("appliance/stamp.json", 0o644),
        ("lock", 0o600),
    ] {
        let meta = state.join(path).metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (mode, 0), "{path}");
    }
    assert_eq!(inside(root, TEXT).unwrap(), b"fd-content 1.0\n");
    // What only root may read is not in it, though root made it.
    assert_eq!(inside(root, "usr/share/fd-content/secret").unwrap(), b"");
    assert_eq!(inside(root, "usr/share/fd-content/private/text"), None);
    let [said, noticed] = boot(root);
    assert_eq!(said, "fd-content 1.0\n");
    assert!(!noticed.contains(NOT_USED), "{noticed}");
    let own = root.path.join("var/tmp/nobody/v1/shared/appliance");
    assert!(!own.exists(), "it was rehydrated once more");
}

/// Its author checks it where it is installed: the name is not taken, but its own.
fn its_name_is_its_own(root: &Root, dir: &Path) {
    let description = root.put(&dir.join("shared-1/appliance.yaml"));
    let output = root.run(&["freezedry", "check", "--host", &description]);
    assert_eq!(output.stderr, b"", "{}", both(&output));
}

/// A repository in the root with one package, and apt told to see no other.
fn repository(root: &Root, package: &Path) {
    let name = package.file_name().unwrap().to_str().unwrap();
    let inside = root.path.join("var/tmp/repository");
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::copy(package, inside.join(name)).unwrap();
    let control = run(Command::new("dpkg-deb").arg("-f").arg(package));
    let sum = run(Command::new("sha256sum").arg(package));
    let entry = format!(
        "{control}Filename: ./{name}\nSize: {}\nSHA256: {}\n",
        package.metadata().unwrap().len(),
        sum.split(' ').next().unwrap()
    );
    std::fs::write(inside.join("Packages"), entry).unwrap();
    let list = "deb [trusted=yes] file:/var/tmp/repository ./\n";
    std::fs::write(root.path.join("var/tmp/repository.list"), list).unwrap();
}

const APT: [&str; 8] = [
    "apt-get",
    "-q",
    "-y",
    "--no-install-recommends",
    "-o",
    "Dir::Etc::SourceList=/var/tmp/repository.list",
    "-o",
    "Dir::Etc::SourceParts=/dev/null",
];

#[test]
fn apt_keeps_a_shared_appliance_as_the_packages_are() {
    let Some(debian) = debian() else { return };
    if !require(&["dpkg-deb", "e2fsck"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let deb = |name, version| content::deb(dir.path(), name, version, "");
    let root = copy_of(&debian, "apt-shared-root");
    root.must(&["apt-get", "-q", "update"]);
    root.must(&[&APT[..4], &["install", "qemu-system-x86", "mount"]].concat());
    let install = |packages: &[PathBuf]| {
        let inside: Vec<String> = packages.iter().map(|path| root.put(path)).collect();
        let words = APT[..4].iter().copied().chain(["install"]);
        root.must(
            &words
                .chain(inside.iter().map(String::as_str))
                .collect::<Vec<_>>(),
        )
    };
    let before = root.paths();
    install(&[
        deb("freezedry", "0"),
        deb("fd-content", "1.0"),
        deb("fd-other", "1.0"),
    ]);
    install(&[shared(dir.path(), 1)[0].clone()]);
    everybody_boots_it(&root);
    its_name_is_its_own(&root, dir.path());

    // A package that is not in it.
    let first = made(&root);
    repository(&root, &deb("fd-other", "1.1"));
    root.must(&[&APT[..], &["update"]].concat());
    let said = root.must(&[&APT[..], &["upgrade"]].concat());
    assert!(said.contains("Processing triggers for shared"), "{said}");
    assert_eq!(made(&root), first);

    // A package that is.
    repository(&root, &deb("fd-content", "1.1"));
    root.must(&[&APT[..], &["update"]].concat());
    root.must(&[&APT[..], &["upgrade"]].concat());
    assert_ne!(made(&root), first);
    let [said, noticed] = boot(&root);
    assert_eq!(said, "fd-content 1.1\n");
    assert!(!noticed.contains(NOT_USED), "{noticed}");

    // One run of dpkg alone, which brings a new dependency: its status file
    // does not know that while triggers are processed.
    let more = content::deb(dir.path(), "fd-content", "1.2", "Depends: fd-more\n");
    let packages = [root.put(&more), root.put(&deb("fd-more", "1.0"))];
    root.must(&["dpkg", "-i", &packages[0], &packages[1]]);
    assert_eq!(
        inside(&root, "usr/share/fd-more/text").unwrap(),
        b"fd-more 1.0\n"
    );

    what_no_trigger_told_is_seen_at_boot(&root, &deb("fd-content", "1.3"));
    interrupted_refreshes_leave_a_whole_appliance(&root);

    // A refresh that fails says so in one line and fails nothing.
    let state = root.path.join(STATE);
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o777)).unwrap();
    let other = root.put(&deb("fd-other", "1.2"));
    let output = root.run(&["dpkg", "-i", &other]);
    let said = both(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("freezedry: ").count(), 1, "{said}");
    assert!(said.contains("only root may write to"), "{said}");
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o755)).unwrap();

    // Upgrade, removal, and purge, with something of the user's beside it, and on
    // another disk.
    let elsewhere = "mv /var/lib/freezedry /srv && ln -s ../../srv/freezedry /var/lib/freezedry";
    root.must(&["sh", "-c", elsewhere]);
    root.must(&["freezedry", "refresh"]);
    std::fs::create_dir(state.join("storage")).unwrap();
    let then = made(&root);
    install(&[shared(dir.path(), 2)[0].clone()]);
    assert_eq!(made(&root), then);
    root.must(&[&APT[..4], &["remove", "shared"]].concat());
    assert!(state.join("storage").exists());
    assert!(!state.join("appliance").exists());
    root.must(&[&APT[..4], &["purge", "shared"]].concat());
    assert!(!root.path.join("srv/freezedry/shared").exists());
    assert!(root.path.join("var/lib/freezedry").is_symlink());
    root.must(
        &[
            &APT[..4],
            &["purge", "freezedry", "fd-content", "fd-more", "fd-other"],
        ]
        .concat(),
    );
    let after = root.paths();
    assert_eq!(
        after.difference(&before).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

/// A package inside changes, and the triggers are put off.
fn what_no_trigger_told_is_seen_at_boot(root: &Root, package: &Path) {
    root.must(&["dpkg", "--no-triggers", "-i", &root.put(package)]);
    let [said, noticed] = boot(root);
    assert_eq!(said, "fd-content 1.3\n");
    assert!(
        noticed.contains(NOT_USED) && noticed.contains("`sudo freezedry refresh shared`"),
        "{noticed}"
    );
    let user = root.run(&["runuser", "-u", "nobody", "--", "freezedry", "refresh"]);
    assert!(
        !user.status.success() && both(&user).contains("only root"),
        "{}",
        both(&user)
    );
    root.must(&["freezedry", "refresh", "shared"]);
    let [said, noticed] = boot(root);
    assert_eq!(said, "fd-content 1.3\n");
    assert!(!noticed.contains(NOT_USED), "{noticed}");
}

/// Killed in the midst of the work, again and again.
fn interrupted_refreshes_leave_a_whole_appliance(root: &Root) {
    let state = root.path.join(STATE);
    let unfinished = || {
        let names = state.read_dir().unwrap().flatten();
        names.into_iter().find_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            name.starts_with("new.").then_some(name)
        })
    };
    let mut interrupted = 0;
    for round in 0..30 {
        let old = made(root);
        std::fs::write(root.path.join(TEXT), format!("round {round}\n")).unwrap();
        // What a package manager would do too: it is looked at first.
        run(Command::new("touch").arg(root.path.join("var/lib/dpkg/status")));
        let earlier = unfinished();
        // Not through `enter-rpm-world`, so that the child is what is killed.
        let mut refresh = Command::new("chroot")
            .arg(&root.path)
            .args(["/usr/bin/freezedry", "refresh", "shared"])
            .spawn()
            .unwrap();
        while refresh.try_wait().unwrap().is_none() && unfinished() == earlier {
            std::thread::yield_now();
        }
        let _ = refresh.kill(); // it may have ended
        let killed = refresh.wait().unwrap().signal() == Some(9);
        interrupted += u32::from(killed && unfinished().is_some());
        // The old one, untouched, or the new one, whole.
        let now = made(root);
        if now != old {
            assert!(
                now.inode != old.inode && now.plan != old.plan,
                "{old:?} {now:?}"
            );
            assert_eq!(
                inside(root, TEXT).unwrap(),
                format!("round {round}\n").as_bytes()
            );
        }
        if interrupted == 5 {
            break;
        }
    }
    assert!(interrupted > 0, "no refresh was interrupted");
    root.must(&["touch", "/var/lib/dpkg/status"]);
    root.must(&["freezedry", "refresh", "shared"]);
    assert_eq!(unfinished(), None);
    assert_eq!(
        inside(root, TEXT).unwrap(),
        std::fs::read(root.path.join(TEXT)).unwrap()
    );
    run(Command::new("e2fsck")
        .arg("-fn")
        .arg(state.join("appliance/root")));
}

#[test]
fn dnf_keeps_a_shared_appliance_as_the_packages_are() {
    let Some(world) = rpm_world() else { return };
    if !require(&["rpmbuild"]) || !require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = copy_of(&world, "rpm-shared-root");
    let dnf = |word: &str, packages: &[&str]| {
        let words = ["dnf", "-q", "-y", "--setopt=install_weak_deps=False", word];
        root.must(&[&words[..], packages].concat());
    };
    let put = |name: &str, version: &str| root.put(&rpm(dir.path(), name, version));
    let before = root.paths();
    dnf("install", &[&root.put(&freezedry_rpm(dir.path()))]);
    dnf(
        "install",
        &[&put("fd-content", "1.0"), &put("fd-other", "1.0")],
    );
    dnf("install", &[&root.put(&shared(dir.path(), 1)[1])]);
    root.must(&["rpm", "-V", "shared"]);
    for path in ["", "/appliance", "/appliance/kernel", "/appliance/root"] {
        let owner = root.must(&["rpm", "-qf", &format!("/{STATE}{path}")]);
        assert_eq!(owner, "shared-1.0-1.noarch\n");
    }
    everybody_boots_it(&root);
    its_name_is_its_own(&root, dir.path());

    // Packages that are not in it come, change and go.
    let first = made(&root);
    dnf("upgrade", &[&put("fd-other", "1.1")]);
    dnf("install", &[&put("fd-more", "1.0")]);
    dnf("remove", &["fd-other"]);
    assert_eq!(made(&root), first);

    dnf("upgrade", &[&put("fd-content", "1.1")]);
    assert_ne!(made(&root), first);
    let [said, noticed] = boot(&root);
    assert_eq!(said, "fd-content 1.1\n");
    assert!(!noticed.contains(NOT_USED), "{noticed}");
    root.must(&["rpm", "-V", "shared"]);

    // Its own upgrade keeps it; what lies beside it is left by removals.
    let storage = root.path.join(STATE).join("storage");
    std::fs::create_dir(&storage).unwrap();
    let then = made(&root);
    dnf("upgrade", &[&root.put(&shared(dir.path(), 2)[1])]);
    assert_eq!(made(&root), then);
    let said = root.must(&["dnf", "-y", "remove", "shared"]);
    let left = format!("shared: no file of the package, so it is left: /{STATE}/storage\n");
    assert!(said.contains(&left), "{said}");
    let state = root.path.join(STATE).read_dir().unwrap();
    let names: Vec<_> = state.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["storage"]);
    // With nothing beside it, nothing is left.
    std::fs::remove_dir(storage).unwrap();
    dnf("install", &[&root.put(&shared(dir.path(), 2)[1])]);
    dnf("remove", &["shared"]);
    assert!(!root.path.join("var/lib/freezedry").exists());
    dnf("remove", &["freezedry", "fd-content", "fd-more"]);
    let after = root.paths();
    assert_eq!(
        after.difference(&before).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

#[test]
fn a_refresh_of_what_is_not_installed_is_refused() {
    let output = freezedry().args(["refresh", "no-such"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        both(&output).contains("no installed package has a shared appliance `no-such`"),
        "{}",
        both(&output)
    );
}
