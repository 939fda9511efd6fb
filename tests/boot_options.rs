//! The options of `freezedry boot` that go beyond running a command, with a real
//! qemu; several checks share a boot.

use crate::boot_background::Background;
use crate::support::appliance::{Appliance, Engine, finish, qemus, wait_for, yaml};
use crate::support::{both, freezedry, require, require_root, run, skip};
use std::path::Path;
use std::process::{Command, Output};

pub(crate) const SMALL: &str =
    "packages: [bash, coreutils]\nboot: {memory: 256M, init: \"echo default; exit 3\"}\n";

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `sh -c script` in the guest, with `options` of boot.
fn sh(appliance: &Appliance, options: &[&str], script: &str) -> Output {
    let mut boot = appliance.boot();
    boot.current_dir(appliance.dir.path()).args(options);
    finish(boot.args(["--", "sh", "-c", script]), b"")
}

/// Whether this user can share directories with the kernel that is here.
pub(crate) fn can_share() -> bool {
    let legacy = "/usr/lib/qemu/virtiofsd";
    let modern = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd"];
    modern.iter().any(|place| Path::new(place).exists())
        || (Path::new(legacy).exists() && require_root())
        || skip("there is no virtiofsd that this user can run")
}

#[test]
fn wrong_use_is_told_without_booting() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("appliance.yaml"), yaml("small", SMALL)).unwrap();
    std::fs::write(path("disk"), [0; 512]).unwrap();
    std::fs::hard_link(path("disk"), path("same")).unwrap();
    run(Command::new("mkfifo").arg(path("pipe")));
    std::fs::create_dir_all(path("a/work")).unwrap();
    std::fs::create_dir_all(path("b/work")).unwrap();
    for (options, message) in [
        (
            &["--disk=none"][..],
            "cannot open the disk `none`: No such file or directory",
        ),
        (&["--disk=a"], "is a directory; `--share` gives directories"),
        (&["--disk=pipe"], "is neither a file nor a block device"),
        (&["--disk=disk", "--disk=same"], "is given twice"),
        (&["--disk=disk:qcow2"], "is not qcow2; leave `:qcow2` out"),
        (
            &["--display=vnc=unix:/etc/passwd"],
            "is there already, and no socket",
        ),
        (
            &["--share=a/work", "--share=b/work:/mnt//work"],
            "two shares are to be at `/mnt/work`",
        ),
        (
            &["--share=a:/srv", "--persist=/srv/x"],
            "the share at `/srv` would hide `/srv/x`, which is kept",
        ),
        (&["--share=a:/run/x"], "cannot share"),
        (
            &["--disk=disk", "--disk=disk"],
            "is given twice; give it once, or both times with `:ro`",
        ),
        (
            &["--share=none"],
            "cannot share `none`: No such file or directory",
        ),
        (&["--share=disk"], "it is no directory"),
        (
            &["--share=a:/mnt/a b"],
            "write HOSTDIR:GUESTDIR with a plain GUESTDIR",
        ),
        (
            &["--share=a/work", "--share=b/work"],
            "two shares are to be at `/mnt/work`; give one another place",
        ),
    ] {
        let mut boot = freezedry();
        boot.args(["boot", "appliance.yaml"]).args(options);
        boot.current_dir(dir.path());
        boot.env("FREEZEDRY_CACHE_DIR", path("cache"));
        let output = finish(&mut boot, b"");
        assert_eq!(
            output.status.code(),
            Some(125),
            "{options:?}: {}",
            both(&output)
        );
        let said = stderr(&output);
        assert!(
            said.lines().count() == 1 && said.contains(message),
            "{options:?}: {said}"
        );
    }
}

#[test]
fn disks_are_where_the_help_says_and_keep_what_is_written() {
    if !require(&["qemu-img"]) {
        return;
    }
    let Some(appliance) = Appliance::new("disks", SMALL, Engine::Freezedry) else {
        return;
    };
    let path = |name: &str| appliance.dir.path().join(name);
    std::fs::File::create(path("raw,1"))
        .unwrap()
        .set_len(3 << 20)
        .unwrap();
    run(Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        .arg(path("two"))
        .arg("5M"));
    let script = "for disk in b c; do cat /sys/block/vd$disk/serial; echo; cat /sys/block/vd$disk/size; done; \
                  echo written >/dev/vdb; dd if=/dev/vdc bs=1 count=4; echo x 2>/dev/null >/dev/vdc && sync /dev/vdc; true";
    let output = sh(&appliance, &["--disk=raw,1", "--disk=two:ro"], script);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(
        stdout(&output),
        "disk0\n6144\ndisk1\n10240\n\0\0\0\0",
        "{}",
        both(&output)
    );
    assert!(
        std::fs::read(path("raw,1"))
            .unwrap()
            .starts_with(b"written\n")
    );

    // A second guest with the same disk.
    let script = "echo up; read -r line";
    let mut first = appliance.boot();
    first.current_dir(appliance.dir.path());
    let streams = first.args(["--disk=two", "--", "sh", "-c", script]);
    let mut first = streams
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 2]; // the line break may be the start of the end
    std::io::Read::read_exact(first.stdout.as_mut().unwrap(), &mut up).unwrap();
    let output = sh(&appliance, &["--disk=two:ro"], "true");
    assert_eq!(output.status.code(), Some(125), "{}", both(&output));
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("/two` is in use by another guest; end that guest first"),
        "{said}"
    );
    std::io::Write::write_all(first.stdin.as_mut().unwrap(), b"\n").unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
}

#[test]
fn shares_are_read_only_unless_they_are_asked_to_be_writable() {
    if !can_share() {
        return;
    }
    let Some(appliance) = Appliance::new("shares", SMALL, Engine::Freezedry) else {
        return;
    };
    let path = |name: &str| appliance.dir.path().join(name);
    for name in ["in,put", "out"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    std::fs::write(path("in,put/file"), "from the host\n").unwrap();
    // The guest's root may mount it anew: the host has to refuse.
    let script = "cat /mnt/in,put/file; mkdir /again; mount -t virtiofs share0 /again; \
                  echo x >/again/file; echo x >/again/new; rm -f /again/file; \
                  echo 'from the guest' >/work/out/new";
    let text = SMALL.replace("coreutils", "coreutils, mount");
    let Some(with_mount) = Appliance::new("shares-mount", &text, Engine::Freezedry) else {
        return;
    };
    let mut boot = with_mount.boot();
    boot.current_dir(appliance.dir.path());
    boot.args([
        "--share=in,put",
        "--share=out:/work/out:rw",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let output = finish(&mut boot, b"");
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(stdout(&output), "from the host\n", "{}", both(&output));
    assert_eq!(
        stderr(&output).matches("Read-only file system").count(),
        3,
        "{}",
        both(&output)
    );
    assert_eq!(
        std::fs::read_to_string(path("in,put/file")).unwrap(),
        "from the host\n"
    );
    assert!(!path("in,put/new").exists());
    assert_eq!(
        std::fs::read_to_string(path("out/new")).unwrap(),
        "from the guest\n"
    );
}

/// What somebody who is not root is told on Debian 12 with its small kernel.
#[test]
fn a_kernel_that_cannot_share_is_told_with_the_remedy() {
    if !require_root() || !require(&["setpriv"]) {
        return;
    }
    let kernels = std::fs::read_dir("/lib/modules").unwrap().flatten();
    let listed = kernels
        .filter_map(|kernel| std::fs::read_to_string(kernel.path().join("modules.dep")).ok());
    if listed.into_iter().any(|list| list.contains("/9p.ko"))
        || Path::new("/usr/libexec/virtiofsd").exists()
    {
        skip("everybody can share directories here");
        return;
    }
    let dir = tempfile::Builder::new()
        .prefix("share")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::write(dir.path().join("appliance.yaml"), yaml("small", SMALL)).unwrap();
    std::fs::create_dir(dir.path().join("work")).unwrap();
    // The program itself may lie where only root can reach it.
    let program = dir.path().join("freezedry");
    std::fs::copy(env!("CARGO_BIN_EXE_freezedry"), &program).unwrap();
    run(Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(dir.path()));
    let mut boot = Command::new("setpriv");
    boot.args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program);
    boot.args([
        "boot",
        "--accel=tcg",
        "appliance.yaml",
        "--share=work",
        "--",
        "true",
    ]);
    boot.current_dir(dir.path())
        .env("FREEZEDRY_CACHE_DIR", dir.path().join("cache"));
    let output = finish(&mut boot, b"");
    assert_eq!(output.status.code(), Some(125), "{}", both(&output));
    let said = stderr(&output);
    assert!(
        said.contains("has no module `9p`; install one that has it (linux-image-amd64"),
        "{said}"
    );
}

/// The database's case: data live on while the root is made anew.
#[test]
fn what_is_kept_outlives_guests_and_new_roots_until_it_is_reset() {
    let text = "packages: [bash, coreutils]\n\
                files:\n- {path: /srv/seed, content: seed, mode: \"0600\"}\n\
                - {path: /etc/root, content: old}\n\
                boot: {memory: 256M, init: \"true\", storage: {persistent: [/srv, /var/lib/db]}}\n";
    let Some(old) = Appliance::new("keeper", text, Engine::Freezedry) else {
        return;
    };
    let Some(new) = Appliance::new("keeper", &text.replace("old", "new"), Engine::Freezedry) else {
        return;
    };
    let data = old.dir.path().join("data");
    let boot = |appliance: &Appliance, rest: &[&str]| {
        let mut boot = appliance.boot();
        finish(boot.env("XDG_DATA_HOME", &data).args(rest), b"")
    };
    let script = "cat /etc/root; stat -c ' %a' /srv/seed; cat /srv/seed; ls /srv /var/lib/db; \
                  echo more >>/srv/seed; echo row >>/var/lib/db/table; echo gone >/root/gone";
    let output = boot(&old, &["--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(
        stdout(&output),
        "old 600\nseed/srv:\nseed\n\n/var/lib/db:\n"
    );
    assert_eq!(stderr(&output), "");

    // The appliance has changed; --persist keeps another directory too.  Disks
    // with the same file systems as its own are not taken for these.
    let images = [
        data.join("freezedry/keeper/srv.img"),
        old.cache().join("v1/keeper/appliance/root"),
    ];
    let copies = ["srv.copy", "root.copy"].map(|name| old.dir.path().join(name));
    for (image, copy) in images.iter().zip(&copies) {
        let mut cp = Command::new("cp");
        run(cp.arg("--sparse=always").arg(image).arg(copy));
    }
    let written = || {
        copies
            .each_ref()
            .map(|copy| copy.metadata().unwrap().modified().unwrap())
    };
    let before = written();
    let script = "cat /etc/root /srv/seed /var/lib/db/table; ls /root; echo new >/srv/new";
    let disks = copies
        .each_ref()
        .map(|copy| format!("--disk={}", copy.display()));
    let options = [
        "--persist=/root",
        &disks[0],
        &disks[1],
        "--",
        "sh",
        "-c",
        script,
    ];
    let output = boot(&new, &options);
    assert_eq!(written(), before);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(stdout(&output), "newseedmore\nrow\n", "{}", both(&output));
    for image in ["srv.img", "var-lib-db.img", "root.img"] {
        let mut fsck = Command::new("e2fsck");
        fsck.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .args(["-p"]);
        run(fsck.arg(data.join("freezedry/keeper").join(image)));
    }

    let used = freezedry::boot::storage::Storage::open(&data.join("freezedry"), "keeper").unwrap();
    for rest in [&["--", "true"][..], &["--reset"]] {
        let output = boot(&new, rest);
        assert_eq!(output.status.code(), Some(125), "{}", both(&output));
        let message = "freezedry: another guest uses the persistent data of `keeper`; end it first";
        assert!(stderr(&output).starts_with(message), "{}", both(&output));
    }
    drop(used);
    let output = boot(&new, &["--reset"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(
        stderr(&output).matches("removed `").count(),
        3,
        "{}",
        both(&output)
    );
    assert!(
        stderr(&output).contains("keeper/var-lib-db.img`"),
        "{}",
        both(&output)
    );
    let output = boot(&new, &["--reset"]);
    assert_eq!(stderr(&output), "freezedry: nothing was kept of `keeper`\n");
}

#[test]
fn without_freezedry_an_option_that_needs_it_says_so() {
    let Some(appliance) = Appliance::new("stock", SMALL, Engine::Stock) else {
        return;
    };
    for option in [
        "--disk=x",
        "--share",
        "--persist",
        "--reset",
        "--detach",
        "--list",
        "--stop",
        "--ssh",
        "--graphical",
    ] {
        let output = finish(appliance.boot().arg(option), b"");
        assert_eq!(output.status.code(), Some(125), "{}", both(&output));
        let name = option.split('=').next().unwrap();
        let message =
            format!("boot-stock: {name} needs Freezedry; install the package freezedry\n");
        assert_eq!(stderr(&output), message);
    }
    let text = "packages: [bash, coreutils]\nboot: {storage: persistent}\n";
    let Some(keeper) = Appliance::new("stock-keeper", text, Engine::Stock) else {
        return;
    };
    let output = keeper.run(&["true"], b"");
    assert_eq!(output.status.code(), Some(125), "{}", both(&output));
    assert!(
        stderr(&output).contains("this appliance keeps data, which needs Freezedry"),
        "{}",
        both(&output)
    );
}

/// The screen shows what the kernel and the console say: not one colour alone.
#[test]
fn a_graphical_guest_has_a_screen() {
    let text = "packages: [bash, coreutils]\nboot: {memory: 256M, console: graphical}\n";
    let Some(appliance) = Appliance::new("screen", text, Engine::Freezedry) else {
        return;
    };
    let guest = Background(&appliance);
    let mut boot = appliance.boot();
    boot.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    let output = finish(&mut boot, b"");
    assert_eq!(output.status.code(), Some(125), "{}", both(&output));
    assert!(
        stderr(&output).contains("there is no screen for a window"),
        "{}",
        both(&output)
    );

    let socket = appliance.dir.path().join("vnc");
    let display = format!("--display=vnc=unix:{}", socket.display());
    let output = guest.boot(&["--detach", &display]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    // A server of VNC greets.
    let mut viewer = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let mut greeting = [0; 4];
    std::io::Read::read_exact(&mut viewer, &mut greeting).unwrap();
    assert_eq!(&greeting, b"RFB ");

    let monitor = appliance.dir.path().join("cache/run/screen.qmp");
    let mut monitor = freezedry::boot::qmp::Monitor::connect(&monitor).unwrap();
    assert!(
        monitor
            .execute("no-such-command", &serde_json::json!({}))
            .is_err()
    );
    let picture = appliance.dir.path().join("screen.ppm");
    let shot = |monitor: &mut freezedry::boot::qmp::Monitor| {
        let arguments = serde_json::json!({"filename": picture});
        monitor.execute("screendump", &arguments).unwrap();
        std::fs::read(&picture).unwrap()
    };
    let first = shot(&mut monitor);
    assert!(first.starts_with(b"P6\n"));
    let middle = first[first.len() / 2];
    assert!(
        first.iter().skip(20).any(|&byte| byte != middle),
        "the screen is of one colour"
    );
    // Somebody types at the screen, and the shell there obeys: the guest ends.
    // What is typed before the shell is there may be lost.
    let mut typed = 0;
    wait_for("the guest to end", || {
        if typed % 100 == 0 {
            for key in ["e", "x", "i", "t", "ret"] {
                let keys = serde_json::json!({"keys": [{"type": "qcode", "data": key}]});
                let _ = monitor.execute("send-key", &keys); // it may have ended
            }
        }
        typed += 1;
        qemus(appliance.dir.path()).is_empty()
    });
    wait_for("its entry to go", || {
        stdout(&guest.boot(&["--list"])).is_empty()
    });
}

/// The kernel would cut it off without a word, and shares would be missing.
#[test]
fn more_than_the_kernel_s_command_line_holds_is_refused() {
    if !can_share() {
        return;
    }
    let Some(appliance) = Appliance::new("long", SMALL, Engine::Freezedry) else {
        return;
    };
    let mut boot = appliance.boot();
    for index in 0..12 {
        let source = appliance.dir.path().join(format!("{index}"));
        std::fs::create_dir(&source).unwrap();
        let target = format!("/{index}{}", "x".repeat(180));
        boot.arg(format!("--share={}:{target}", source.display()));
    }
    let output = finish(boot.args(["--", "true"]), b"");
    assert_eq!(output.status.code(), Some(125), "{}", both(&output));
    assert!(
        stderr(&output).contains("share or keep fewer directories"),
        "{}",
        both(&output)
    );
}
