//! The gallery in examples/: every folder is a good description and makes good
//! packages, and each appliance does what its README says, under TCG.

use crate::boot_options::can_share;
use crate::support::appliance::{Appliance, Running, finish, qemus, wait_for};
use crate::support::screen::{look, type_text};
use crate::support::{both, freezedry, require, run, skip, source};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folders, sorted by name.
pub(crate) fn folders() -> Vec<PathBuf> {
    let entries = source("examples").read_dir().unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

/// An example, unless a package that it is made of is not installed here.
fn example(name: &str) -> Option<Appliance> {
    edited(name, str::to_owned)
}

fn edited(name: &str, edit: impl Fn(&str) -> String) -> Option<Appliance> {
    let description = source("examples").join(name).join("appliance.yaml");
    let output = freezedry()
        .args(["check", "--host"])
        .arg(description)
        .output()
        .unwrap();
    if both(&output).contains("is not installed on this debian host") {
        skip(&format!(
            "packages of {name} are missing: {}",
            both(&output)
        ));
        return None;
    }
    Appliance::example(name, edit)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Its standard output, if it ended well.
fn good(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", both(output));
    stdout(output)
}

#[test]
fn every_example_is_described_and_tested_and_nothing_is_found_in_it() {
    let tests = include_str!("examples.rs");
    let mut descriptions = Vec::new();
    for folder in folders() {
        let name = name(&folder);
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.starts_with(&format!("# {name}\n")), "{readme}");
        let test = format!("\nfn {}_", name.replace('-', "_"));
        assert!(tests.contains(&test), "no test here boots {name}");
        descriptions.push(folder.join("appliance.yaml"));
    }
    assert!(descriptions.len() >= 10);
    if !Path::new("/var/lib/dpkg/status").exists() {
        skip("this is no Debian system");
        return;
    }
    let output = freezedry()
        .args(["check", "--host"])
        .args(&descriptions)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("is not installed on this debian host") {
        skip(&format!("packages of the examples are missing: {said}"));
        return;
    }
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn hello_vm_says_hello() {
    let Some(appliance) = example("hello-vm") else {
        return;
    };
    let said = good(&appliance.run(&[], b""));
    assert!(said.starts_with("Hello from Linux "), "{said}");
}

#[test]
fn try_python_is_a_console_and_runs_scripts() {
    let Some(appliance) = example("try-python") else {
        return;
    };
    let mut console = Running::start(&mut appliance.boot());
    console.until(">>> ");
    console.say("import os; os.getpid() * 1000\n");
    console.until("000\r\n>>> ");
    console.say("\x04");
    assert_eq!(console.end(), Some(0));

    let script = b"import sys; print(sys.argv[1:]); sys.exit(3)";
    let output = appliance.run(&["python3", "-", "one", "two"], script);
    assert_eq!(output.status.code(), Some(3), "{}", both(&output));
    assert_eq!(stdout(&output), "['one', 'two']\n");
}

#[test]
fn kernel_test_runs_under_the_kernel_that_is_chosen() {
    if !require(&["depmod"]) {
        return;
    }
    let Some(appliance) = example("kernel-test") else {
        return;
    };
    let said = good(&appliance.run(&[], b""));
    let (first, report) = said.split_once('\n').unwrap();
    let version = first.strip_prefix("# Linux ").unwrap();
    assert_eq!(
        report,
        "1..3\nok 1 - overlay\nok 2 - pipes\nok 3 - the kernel is not tainted (0)\n"
    );

    // Another kernel: the same one without a module that a test needs.
    let other = appliance.dir.path().join("lib/modules").join(version);
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    let modules = Path::new("/lib/modules").join(version);
    run(Command::new("cp").arg("-r").arg(modules).arg(&other));
    let delete = ["-name", "overlay.ko*", "-print", "-delete"];
    let deleted = run(Command::new("find").arg(&other).args(delete));
    assert_eq!(deleted.lines().count(), 1, "{deleted}");
    let base = appliance.dir.path();
    run(Command::new("depmod").arg("-b").arg(base).arg(version));
    let kernel = base.join("chosen");
    std::fs::copy(format!("/boot/vmlinuz-{version}"), &kernel).unwrap();
    let output = finish(
        appliance
            .boot()
            .env("SUPERMIN_KERNEL", &kernel)
            .env("SUPERMIN_MODULES", &other),
        b"",
    );
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = stdout(&output);
    assert!(
        said.contains("# modprobe: FATAL: Module overlay not found"),
        "{said}"
    );
    assert!(
        said.contains("\nnot ok 1 - overlay\nok 2 - pipes\nok 3"),
        "{said}"
    );
}

#[test]
fn web_serves_its_pages_to_the_host_until_it_is_interrupted() {
    if !require(&["curl"]) {
        return;
    }
    // A port that is free now, since 8080 might not be.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let ports = format!("\"{}:80\"", address.port());
    let Some(appliance) = edited("web", |text| text.replace("\"8080:80\"", &ports)) else {
        return;
    };
    let mut server = Running::start(&mut appliance.boot());
    let get = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-fsS", "--max-time", "10"]);
        curl.arg(format!("http://{address}{path}"))
            .output()
            .unwrap()
    };
    let mut output = get("/");
    wait_for("the web server", || {
        if !output.status.success() {
            output = get("/");
        }
        output.status.success()
    });
    let page = source("examples/web/www/index.html");
    assert_eq!(good(&output), std::fs::read_to_string(page).unwrap());
    let about = good(&get("/cgi-bin/about"));
    assert!(
        about.starts_with("Linux ") && about.contains(" on web, "),
        "{about}"
    );
    server.until("response:200");
    assert_eq!(get("/../../etc/os-release").status.code(), Some(22));

    server.signal(Signal::INT);
    assert_eq!(server.end(), Some(130));
    wait_for("qemu to end", || qemus(appliance.dir.path()).is_empty());
}

/// A file of this size, which takes no place.
fn blank(path: &Path, size: u64) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
}

/// Runs a script in the guest with a disk.
fn with_disk(appliance: &Appliance, disk: &str, script: &str) -> Output {
    let mut boot = appliance.boot();
    boot.arg("--disk").arg(disk).args(["--", "sh", "-e"]);
    finish(&mut boot, script.as_bytes())
}

#[test]
fn rescue_makes_and_opens_lvm_xfs_and_luks() {
    let Some(appliance) = example("rescue") else {
        return;
    };
    let disk = appliance.dir.path().join("disk.img");
    blank(&disk, 400 << 20);
    let disk = disk.to_str().unwrap();
    let make = "
        exec >&2
        pvcreate /dev/vdb
        vgcreate vg /dev/vdb
        lvcreate --name plain --size 320M vg
        lvcreate --name secret --size 32M vg
        mkfs.xfs -q -L data /dev/vg/plain
        mount /dev/vg/plain /mnt
        echo on XFS >/mnt/note
        umount /mnt
        pbkdf='--pbkdf pbkdf2 --pbkdf-force-iterations 1000'
        printf pass | cryptsetup luksFormat --batch-mode $pbkdf /dev/vg/secret -
        printf pass | cryptsetup open --key-file - /dev/vg/secret opened
        mkfs.ext4 -q /dev/mapper/opened
        mount /dev/mapper/opened /mnt
        echo in LUKS >/mnt/note
        umount /mnt
        cryptsetup close opened
        vgchange --activate n";
    good(&with_disk(&appliance, disk, make));
    let open = "
        vgchange --quiet --activate y >&2
        xfs_repair -n /dev/vg/plain >&2
        mount -o ro,norecovery /dev/vg/plain /mnt
        cat /mnt/note
        umount /mnt
        if printf wrong | cryptsetup open --key-file - /dev/vg/secret opened; then exit 1; fi
        printf pass | cryptsetup open --readonly --key-file - /dev/vg/secret opened
        mount -o ro /dev/mapper/opened /mnt
        cat /mnt/note
        if echo >/dev/vdb; then exit 1; fi";
    let before = std::fs::read(disk).unwrap();
    let said = good(&with_disk(&appliance, &format!("{disk}:ro"), open));
    assert_eq!(said, "on XFS\nin LUKS\n");
    assert!(
        std::fs::read(disk).unwrap() == before,
        "the disk has changed"
    );
}

#[test]
fn disk_inspector_lists_file_systems_of_partitions_and_lvm() {
    if !require(&["sfdisk", "mkfs.ext4", "mkswap"]) {
        return;
    }
    let Some(appliance) = example("disk-inspector") else {
        return;
    };
    let dir = appliance.dir.path();
    let disk = dir.join("disk.img");
    let partitions = "label: gpt\nstart=2048, size=65536\nstart=67584, size=65536\n";
    blank(&disk, 80 << 20);
    let output = finish(
        Command::new("sfdisk").arg("--quiet").arg(&disk),
        partitions.as_bytes(),
    );
    assert!(output.status.success(), "{}", both(&output));
    let tree = dir.join("tree/usr/lib");
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(
        tree.join("os-release"),
        "# An example\nID=example\nPRETTY_NAME=\"Example \\\"OS\\\" 1\"\n",
    )
    .unwrap();
    // A link that would lead to the file of the guest itself.
    std::fs::create_dir(dir.join("tree/etc")).unwrap();
    std::os::unix::fs::symlink("/usr/lib/os-release", dir.join("tree/etc/os-release")).unwrap();
    let root = "6c2dd8a6-04d1-4bd5-8f5a-e1dd6ad5f9be";
    run(Command::new("mkfs.ext4")
        .args([
            "-q",
            "-L",
            "the root",
            "-U",
            root,
            "-E",
            "offset=1048576",
            "-d",
        ])
        .arg(dir.join("tree"))
        .arg(&disk)
        .arg("32M"));

    // The second partition gets a logical volume with swap, by the same tools.
    let disk = disk.to_str().unwrap();
    let swap = "59a9d0a6-9ed3-4b4b-a4a9-a8c8a8a7f0c1";
    let make = format!(
        "exec >&2
        pvcreate /dev/vdb2
        vgcreate vg /dev/vdb2
        lvcreate --name swap --size 8M vg
        mkswap --uuid {swap} /dev/vg/swap
        vgchange --activate n"
    );
    good(&with_disk(&appliance, disk, &make));

    let mut boot = appliance.boot();
    boot.arg("--disk").arg(format!("{disk}:ro"));
    let said = good(&finish(&mut boot, b""));
    let mut listed: Value = serde_json::from_str(&said).unwrap();
    // LVM chooses its own.
    let physical = listed[2]["uuid"].take();
    assert_eq!(physical.as_str().map(str::len), Some(38));
    assert_eq!(
        listed,
        json!([
            {"device": "/dev/mapper/vg-swap", "type": "swap", "size": 8 << 20,
             "label": null, "uuid": swap, "system": null},
            {"device": "/dev/vdb1", "type": "ext4", "size": 32 << 20,
             "label": "the root", "uuid": root, "system": "Example \"OS\" 1"},
            {"device": "/dev/vdb2", "type": "LVM2_member", "size": 32 << 20,
             "label": null, "uuid": null, "system": null},
        ])
    );
}

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

#[test]
fn sandbox_shows_a_directory_and_nothing_else() {
    if !can_share() {
        return;
    }
    let Some(appliance) = example("sandbox") else {
        return;
    };
    let untrusted = "
        read -r line
        echo \"it was given: $line\"
        ls /mnt/work /sys/class/net
        rm -f /mnt/work/untrusted && echo removed
        touch /mnt/work/new && echo made
        grep -F '$' /etc/shadow && echo \"a hash of a password\"
        rm -rf /usr/share
        exit 7";
    let work = directory(&[("untrusted", untrusted)]);
    let mut boot = appliance.boot();
    boot.arg(format!("--share={}:/mnt/work", work.path().display()));
    boot.args(["--", "sh", "/mnt/work/untrusted"]);
    let output = finish(&mut boot, b"input\n");
    assert_eq!(output.status.code(), Some(7), "{}", both(&output));
    assert_eq!(
        stdout(&output),
        "it was given: input\n/mnt/work:\nuntrusted\n\n/sys/class/net:\nlo\n",
        "{}",
        both(&output)
    );
    let left = std::fs::read_to_string(work.path().join("untrusted")).unwrap();
    assert_eq!(left, untrusted);
    assert_eq!(work.path().read_dir().unwrap().count(), 1);
}

#[test]
fn builder_makes_a_program_that_runs_on_the_host() {
    if !can_share() {
        return;
    }
    let Some(appliance) = example("builder") else {
        return;
    };
    let source = "#include <stdio.h>\nint main(void) { puts(\"built in a box\"); return 0; }\n";
    let makefile =
        "program: program.c\n\t$(CC) -O2 -Wall -Werror -o $@ $<\n\tls /sys/class/net >interfaces\n";
    let project = directory(&[("program.c", source), ("Makefile", makefile)]);
    let share = format!("{}:/src:rw", project.path().display());
    let mut boot = appliance.boot();
    let said = good(&finish(boot.arg("--share").arg(&share), b""));
    assert!(
        said.contains("cc -O2 -Wall -Werror -o program program.c\n"),
        "{said}"
    );
    let program = project.path().join("program");
    assert_eq!(run(&mut Command::new(program)), "built in a box\n");
    let interfaces = std::fs::read_to_string(project.path().join("interfaces")).unwrap();
    assert_eq!(interfaces, "lo\n");
}

#[test]
fn database_keeps_its_data_when_the_host_is_updated() {
    let Some(first) = example("database") else {
        return;
    };
    let data = first.dir.path().join("data");
    let boot = |appliance: &Appliance, words: &[&str], input: &str| {
        let mut boot = appliance.boot();
        boot.env("XDG_DATA_HOME", &data).args(words);
        finish(&mut boot, input.as_bytes())
    };
    let sql = "CREATE TABLE parts (name text PRIMARY KEY);\n\
               INSERT INTO parts VALUES ('bolt'), ('nut');\n\
               SELECT nothing;\nINSERT INTO parts VALUES ('never');\n";
    let output = boot(&first, &[], sql);
    assert_eq!(output.status.code(), Some(3), "{}", both(&output));
    assert_eq!(stdout(&output), "CREATE TABLE\nINSERT 0 2\n");

    // The appliance is made anew, as after an update; then it is as if the data
    // were those of another major version.
    let new = "files:\n  - {path: /etc/updated, content: \"new root\\n\"}\n";
    let second = edited("database", |text| text.replace("files:\n", new)).unwrap();
    let script = "
        set -e
        cat /etc/updated
        select='SELECT name FROM parts ORDER BY name'
        database psql -qtA -c \"$select\" -c \"INSERT INTO parts VALUES ('screw')\"
        cd /var/lib/postgresql
        mv [0-9]* 9
        database psql -qtA -c \"$select\"
        mv [0-9][0-9] 8
        touch 8
        ! database 2>&1";
    let output = boot(&second, &["--", "sh", "-c", script], "");
    let said = good(&output);
    let rest = said.strip_prefix("new root\nbolt\nnut\nbolt\nnut\nscrew\n");
    let refusal = "database: the data of PostgreSQL 8 were last used without a proper end";
    assert!(rest.unwrap().starts_with(refusal), "{said}");
    assert!(
        both(&output).contains("taking over the data of another version"),
        "{}",
        both(&output)
    );
}

#[test]
fn desktop_shows_a_window_and_takes_the_keyboard() {
    /// Of the terminal, its text, and the title that the window manager adds.
    const PAPER: u32 = 0x00fd_f6e3;
    const INK: u32 = 0x0007_3642;
    const TITLE: u32 = 0x002a_a198;
    let Some(appliance) = example("desktop") else {
        return;
    };
    let socket = appliance.dir.path().join("vnc");
    let mut boot = appliance.boot();
    let running = Running::start(boot.arg(format!("--display=vnc=unix:{}", socket.display())));
    let mut ink = 0;
    wait_for("the terminal", || {
        let Ok(picture) = look(&socket) else {
            return false;
        };
        ink = picture.count(INK);
        picture.count(PAPER) > 100_000 && picture.count(TITLE) > 1_000 && ink > 0
    });
    type_text(&socket, "ls\n").unwrap();
    wait_for("what the shell says", || {
        look(&socket).unwrap().count(INK) > ink + 300
    });
    type_text(&socket, "exit\n").unwrap();
    assert_eq!(running.end(), Some(0));
}
