//! The drop-in's cache: `--if-newer` and `--lock`, alone, many at once, and killed.

use crate::supermin::{comparable, stock, supermin};
use crate::support::appliance::PATIENCE;
use crate::support::{both, require_root, run, skip};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// The lock is of the kind that stock supermin takes: each waits for the other.
#[test]
fn stock_supermin_and_ours_exclude_each_other() {
    if !comparable() {
        return;
    }
    let skeleton = Skeleton::new();
    let build = |mut program: Command, out: &str| {
        program.args(["--build", "-f", "ext2", "-v", "-v", "-v", "--lock"]);
        program.args(["lock", "supermin.d", "-o", out]);
        program.current_dir(skeleton.dir.path());
        program.stdin(Stdio::null()).stdout(Stdio::piped());
        program
    };
    for (first, second) in [(supermin(), stock()), (stock(), supermin())] {
        let names = format!("{first:?}, then {second:?}");
        // It comes to a stop, with the lock, as nobody reads what it says.
        let mut holder = build(first, "first.d").spawn().unwrap();
        let mut said = BufReader::with_capacity(16, holder.stdout.take().unwrap());
        rustix::pipe::fcntl_setpipe_size(said.get_ref(), 4096).unwrap();
        let begun = |line: &str| line.contains("build: visiting");
        assert!(said.by_ref().lines().any(|line| begun(&line.unwrap())));
        let mut waiter = build(second, "second.d").spawn().unwrap();
        // The kernel lists who waits for which lock.
        let id = format!(" {} ", waiter.id());
        let waits = |line: &str| line.contains(" -> POSIX ") && line.contains(&id);
        let begun = Instant::now();
        while !std::fs::read_to_string("/proc/locks")
            .unwrap()
            .lines()
            .any(waits)
        {
            let ended = waiter.try_wait().unwrap();
            assert_eq!(ended, None, "{names}: the second did not wait");
            assert!(begun.elapsed() < PATIENCE, "{names}");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!skeleton.path("first.d").exists() && !skeleton.path("second.d").exists());
        std::io::copy(&mut said, &mut std::io::sink()).unwrap();
        assert!(holder.wait().unwrap().success(), "{names}");
        let output = waiter.wait_with_output().unwrap();
        assert!(output.status.success(), "{names}: {}", both(&output));
        for out in ["first.d", "second.d"] {
            assert!(skeleton.path(out).join("root").exists(), "{names}");
            std::fs::remove_dir_all(skeleton.path(out)).unwrap();
        }
    }
}
