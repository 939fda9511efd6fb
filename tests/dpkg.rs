//! dpkg's database in unusual states: a root of its own, where the real dpkg
//! installs, diverts and stops half-way.

use crate::supermin::{comparable, stock, supermin};
use crate::support::{require, require_root, run};
use freezedry::host::{Host, Manager, Resolution};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A root in which dpkg works, and packages made for it.
struct Root(tempfile::TempDir);

impl Root {
    /// An empty one; `None` where there is no dpkg, or no root to run it.
    fn new() -> Option<Self> {
        if !require(&["dpkg", "dpkg-deb", "dpkg-divert"]) || !require_root() {
            return None;
        }
        let root = Self(tempfile::tempdir().unwrap());
        for directory in ["updates", "info", "triggers", "parts"] {
            std::fs::create_dir_all(root.path("var/lib/dpkg").join(directory)).unwrap();
        }
        for file in ["status", "available"] {
            std::fs::write(root.path("var/lib/dpkg").join(file), "").unwrap();
        }
        Some(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a package that has `file` with its own name in it; `control` are
    /// further files of its `DEBIAN`.
    fn package(&self, name: &str, file: &str, control: &[(&str, &str)]) -> PathBuf {
        let tree = self.path("parts").join(name);
        let put = |path: &str, text: &str| {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            run(Command::new("chmod").arg("755").arg(path));
        };
        put(file, name);
        let fields = "Version: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: x\n";
        put("DEBIAN/control", &format!("Package: {name}\n{fields}"));
        for (path, text) in control {
            put(&format!("DEBIAN/{path}"), text);
        }
        let deb = tree.with_extension("deb");
        run(Command::new("dpkg-deb").arg("--build").arg(tree).arg(&deb));
        deb
    }

    /// Runs a program of dpkg in the root; whether it succeeds.
    fn dpkg(&self, program: &str, words: &[&str], deb: Option<&Path>) -> bool {
        let output = Command::new(program)
            .arg(format!("--root={}", self.0.path().display()))
            .args(words)
            .args(deb)
            // Scripts run outside: there is no shell inside.
            .env("DPKG_FORCE", "script-chrootless,not-root,bad-path")
            .output()
            .unwrap();
        output.status.success()
    }

    fn install(&self, deb: &Path) {
        assert!(self.dpkg("dpkg", &["--install"], Some(deb)));
    }

    fn host(&self) -> Host {
        Host::with(self.0.path(), Some(Manager::Dpkg)).unwrap()
    }

    /// The state of each package, as dpkg sees it.
    fn states(&self) -> String {
        run(Command::new("dpkg-query")
            .arg(format!(
                "--admindir={}",
                self.path("var/lib/dpkg").display()
            ))
            .args(["-W", "-f", "${Package} ${db:Status-Status}\n"]))
    }
}

/// What dpkg says lies elsewhere is taken from there, whoever diverted it, so
/// that what goes in is always the package's own.
#[test]
fn a_diverted_file_is_the_one_that_its_package_brought() {
    let Some(root) = Root::new() else { return };
    let deb = root.package("tool", "usr/bin/tool", &[]);
    let path = Path::new("/usr/bin/tool");
    let real = root.path("usr/bin/tool");
    let divert = |words: &[&str]| {
        let words = [words, &["/usr/bin/tool"]].concat();
        assert!(root.dpkg("dpkg-divert", &words, None), "{words:?}");
    };
    let local = ["--local", "--rename", "--divert", "/usr/bin/elsewhere"];
    let package = [
        "--package",
        "other",
        "--rename",
        "--divert",
        "/usr/bin/other",
    ];
    // Without a move: dpkg will write there only at the next upgrade.
    let lazy = ["--local", "--no-rename", "--divert", "/usr/bin/later"];
    for (how, replaced, lies) in [
        (&local[..], true, "/usr/bin/elsewhere"),
        (&local, false, "/usr/bin/elsewhere"),
        (&package, true, "/usr/bin/other"),
        (&lazy, false, "/usr/bin/tool"),
    ] {
        root.install(&deb);
        divert(&[how, &["--add"]].concat());
        if replaced {
            std::fs::write(&real, "an administrator's").unwrap();
        }
        let host = root.host();
        let database = host.packages().unwrap();
        let id = database.find("tool").unwrap();
        let files = database.files(&[id]).unwrap();
        let file = files.iter().find(|file| file.path == path).unwrap();
        assert_eq!(file.source, Path::new(lies), "{how:?}");
        let content = std::fs::read_to_string(root.path(&lies[1..])).unwrap();
        assert_eq!(content, "tool", "{how:?}");
        if replaced {
            std::fs::remove_file(&real).unwrap();
        }
        divert(&[how, &["--remove"]].concat());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "tool");
    }
}

/// With the compatible resolution the very packages that stock supermin takes;
/// otherwise also those whose files are there but that wait for a trigger.
#[test]
fn packages_that_dpkg_left_half_way() {
    let Some(root) = Root::new() else { return };
    root.install(&root.package("settled", "usr/share/settled", &[]));
    let interest = ("triggers", "interest-noawait /usr/share/watched\n");
    let script = ("postinst", "#!/bin/sh\nexit 0\n");
    root.install(&root.package("pending", "usr/share/pending", &[interest, script]));
    let watched = root.package("awaited", "usr/share/watched/x", &[]);
    assert!(root.dpkg("dpkg", &["--no-triggers", "--install"], Some(&watched)));
    let unpacked = root.package("unpacked", "usr/share/unpacked", &[]);
    assert!(root.dpkg("dpkg", &["--unpack"], Some(&unpacked)));
    let fails = ("postinst", "#!/bin/sh\nexit 1\n");
    let half = root.package("half", "usr/share/half", &[fails]);
    assert!(!root.dpkg("dpkg", &["--no-triggers", "--install"], Some(&half)));
    assert_eq!(
        root.states(),
        "awaited installed\nhalf half-configured\npending triggers-pending\n\
         settled installed\nunpacked unpacked\n"
    );

    let host = root.host();
    let database = host.packages().unwrap();
    let names = [
        "awaited",
        "half",
        "pending",
        "settled",
        "settled:all",
        "settled:amd64",
        "unpacked",
    ];
    let found = |resolution: Resolution| -> Vec<String> {
        let ids = names
            .iter()
            .filter_map(|name| database.find_as(name, resolution));
        ids.map(|id| database.packages()[id].to_string()).collect()
    };
    let settled = ["awaited_1_all", "settled_1_all"];
    assert_eq!(found(Resolution::Compatible), settled);
    assert_eq!(
        found(Resolution::Correct),
        [
            "awaited_1_all",
            "pending_1_all",
            "settled_1_all",
            "settled_1_all"
        ]
    );

    if !comparable() || !require(&["unshare"]) {
        return;
    }
    let list = root.path("skeleton");
    std::fs::write(&list, names.map(|name| format!("{name}\n")).concat()).unwrap();
    for (name, program) in [("ours", supermin()), ("theirs", stock())] {
        let words: Vec<_> = program.get_args().map(ToOwned::to_owned).collect();
        // Only for this one command the system's database is that of the root.
        let script = "mount --bind var/lib/dpkg /var/lib/dpkg; exec \"$@\"";
        run(Command::new("unshare")
            .args(["-m", "sh", "-ec", script, "sh"])
            .arg(program.get_program())
            .args(words)
            .args(["--build", "--include-packagelist", "-f", "chroot"])
            .args(["skeleton", "-o", name])
            .current_dir(root.0.path()));
        let list = std::fs::read_to_string(root.path(name).join("packagelist")).unwrap();
        assert_eq!(list.lines().collect::<Vec<_>>(), settled, "{name}");
    }
}
