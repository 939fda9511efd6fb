//! What outlives a guest is safe, with a real qemu; several checks share a boot.

use crate::boot_options::{SMALL, stderr, stdout};
use crate::support::appliance::{Appliance, Engine, Running, finish, qemus, yaml};
use crate::support::{both, freezedry, require, require_root, run};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What the file system `image` has at `path`.
fn content(image: &Path, path: &str) -> String {
    let mut debugfs = Command::new("debugfs");
    run(debugfs.args(["-R", &format!("cat {path}")]).arg(image))
}

#[test]
fn reset_removes_what_boot_has_made_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("appliance.yaml"), yaml("small", SMALL)).unwrap();
    std::fs::create_dir_all(path("data/freezedry/small/directory.img")).unwrap();
    std::fs::create_dir_all(path("data/freezedry/.ssh")).unwrap();
    std::fs::create_dir_all(path("mine")).unwrap();
    for file in [
        "small/srv.img",
        "small/root.new",
        "small/note",
        ".ssh/key.img",
    ] {
        std::fs::write(path("data/freezedry").join(file), "").unwrap();
    }
    std::fs::write(path("mine/disk.img"), "").unwrap();
    let reset = |options: &[&str]| {
        let mut boot = freezedry();
        boot.args(["boot", "appliance.yaml", "--reset"])
            .args(options);
        boot.current_dir(dir.path());
        boot.env("XDG_DATA_HOME", path("data"));
        boot.env("FREEZEDRY_CACHE_DIR", path("cache"));
        finish(&mut boot, b"")
    };
    for name in [path("mine").to_str().unwrap(), "../../mine", ".ssh"] {
        let output = reset(&["--name", name]);
        assert_eq!(output.status.code(), Some(125), "{}", both(&output));
        let message = "this cannot be the name of an appliance";
        assert!(stderr(&output).contains(message), "{}", both(&output));
    }
    assert!(path("mine/disk.img").exists() && path("data/freezedry/.ssh/key.img").exists());
    let output = reset(&[]);
    assert_eq!(stderr(&output).matches("removed `").count(), 2);
    let mut left: Vec<_> = std::fs::read_dir(path("data/freezedry/small"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["directory.img", "lock", "note"]);
}

#[test]
fn a_signal_has_the_guest_shut_down_and_another_does_not_wait() {
    if !require(&["debugfs"]) {
        return;
    }
    let Some(appliance) = Appliance::new("signals", SMALL, Engine::Freezedry) else {
        return;
    };
    let path = |name: &str| appliance.dir.path().join(name);
    std::fs::write(path("disk"), vec![0; 1 << 20]).unwrap();
    let start = |options: &[&str], script: &str| {
        let mut boot = appliance.boot();
        boot.env("XDG_DATA_HOME", path("data"))
            .current_dir(appliance.dir.path())
            .args(options)
            .args(["--", "sh", "-c", script]);
        Running::start(&mut boot)
    };
    let script = "echo kept >/srv/file; echo disk >/dev/vdb; echo written; sleep 1000";
    let mut running = start(&["--persist=/srv", "--disk=disk"], script);
    running.until("written");
    // At the end of a session everybody gets a signal.
    for id in qemus(appliance.dir.path()) {
        let id = Pid::from_raw(id.parse().unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
    }
    running.signal(Signal::TERM);
    running.signal(Signal::HUP);
    let code = running.end();
    assert!(matches!(code, Some(129 | 143)), "{code:?}");
    let image = path("data/freezedry/signals/srv.img");
    assert_eq!(content(&image, "/files/file"), "kept\n");
    assert!(std::fs::read(path("disk")).unwrap().starts_with(b"disk\n"));

    // Nobody there hears the power button.
    let mut running = start(&["--disk=disk"], "echo up; kill -STOP -1; sleep 1000");
    running.until("up");
    running.signal(Signal::INT);
    running.until("once more ends it at once");
    std::thread::sleep(Duration::from_millis(1100));
    running.signal(Signal::INT);
    let said = running.output();
    assert_eq!(running.end(), Some(130));
    assert!(!said.contains("30 seconds"), "{said}");
    assert!(qemus(appliance.dir.path()).is_empty());
}

/// The images are larger than most disks.
#[test]
fn a_full_disk_is_an_error_for_the_guest_and_a_word_for_the_user() {
    if !require_root() || !require(&["unshare", "strace"]) {
        return;
    }
    let Some(appliance) = Appliance::new("full", SMALL, Engine::Freezedry) else {
        return;
    };
    let path = |name: &str| appliance.dir.path().join(name);
    std::fs::create_dir(path("data")).unwrap();
    let script = "dd if=/dev/zero of=/srv/big bs=1M count=100 conv=fsync; echo \"dd $?\"";
    let mut boot = appliance.boot();
    boot.args(["--persist=/srv", "--", "sh", "-c", script]);
    let mut tiny = Command::new("unshare");
    let mount = "mount -t tmpfs -o size=40m tmpfs \"$XDG_DATA_HOME\" && exec \"$@\"";
    tiny.args(["--mount", "sh", "-c", mount, "sh"]);
    let trace = "trace=fsync,rename,renameat,renameat2";
    tiny.args(["strace", "-f", "--seccomp-bpf", "-y", "-e", trace, "-o"]);
    tiny.arg(path("trace"))
        .arg(boot.get_program())
        .args(boot.get_args());
    for (name, value) in boot.get_envs() {
        tiny.env(name, value.unwrap());
    }
    let output = finish(tiny.env("XDG_DATA_HOME", path("data")), b"");
    assert_eq!(stdout(&output), "dd 1\n", "{}", both(&output));
    let said = stderr(&output);
    assert!(
        said.contains("its disk `kept0`, and may lose data: No space left on device"),
        "{said}"
    );

    // The image had its name only when it was on the disk.
    let trace = std::fs::read_to_string(path("trace")).unwrap();
    let at = |call: &str, what: &str| {
        trace
            .lines()
            .position(|line| line.contains(call) && line.contains(what))
            .unwrap_or_else(|| panic!("{call} {what}: {trace}"))
    };
    let whole = at("fsync(", "/srv.new>)");
    let named = at("rename", "/srv.img\"");
    let directory = at("fsync(", "/freezedry/full>)");
    assert!(whole < named && named < directory, "{trace}");
}
