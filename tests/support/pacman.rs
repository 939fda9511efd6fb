//! A root whose packages the real pacman installed.

use super::{require, run};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package to build.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// `key value` lines of .PKGINFO: `depend x>=1`, `provides y=2`, `backup etc/z`.
    pub(crate) info: &'static [&'static str],
    /// Path and content.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Path and target.
    pub(crate) links: &'static [(&'static str, &'static str)],
}

impl Package {
    pub(crate) const fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            info: &[],
            files: &[],
            links: &[],
        }
    }

    /// Builds it into `out`, as makepkg does (which refuses to run as root).
    pub(crate) fn build(&self, out: &Path) -> PathBuf {
        let tree = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for (path, content) in self.files {
            std::fs::write(put(path), content).unwrap();
        }
        for (path, target) in self.links {
            std::os::unix::fs::symlink(target, put(path)).unwrap();
        }
        let mut info = format!(
            "pkgname = {}\npkgbase = {0}\npkgver = {}\npkgdesc = test\nsize = 1\narch = x86_64\n",
            self.name, self.version
        );
        for line in self.info {
            let (key, value) = line.split_once(' ').unwrap();
            writeln!(info, "{key} = {value}").unwrap();
        }
        std::fs::write(tree.path().join(".PKGINFO"), info).unwrap();
        let listed = tree.path().read_dir().unwrap();
        let mut names: Vec<_> = listed.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let options = "!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link";
        let mut mtree = Command::new("bsdtar");
        mtree
            .args(["-czf", ".MTREE", "--format=mtree", "--options", options])
            .args(["--uid=0", "--gid=0"])
            .args(&names);
        run(mtree.current_dir(tree.path()));
        let package = out.join(format!("{}-{}-x86_64.pkg.tar.zst", self.name, self.version));
        let mut tar = Command::new("bsdtar");
        tar.args(["--zstd", "--uid=0", "--gid=0", "-cf"])
            .arg(&package)
            .arg(".MTREE")
            .args(&names);
        run(tar.current_dir(tree.path()));
        package
    }
}

/// A root with pacman's database in the usual place.
pub(crate) struct Root {
    pub(crate) dir: tempfile::TempDir,
}

impl Root {
    /// Installs `packages`, the later ones as upgrades of earlier ones of the
    /// same name; `None` where a tool is missing.
    pub(crate) fn install(packages: &[Package]) -> Option<Self> {
        if !require(&["pacman", "vercmp", "bsdtar", "fakeroot"]) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let root = Self { dir };
        for path in ["var/lib/pacman", "packages", "etc"] {
            std::fs::create_dir_all(root.path().join(path)).unwrap();
        }
        std::fs::write(root.path().join("etc/os-release"), "ID=arch\n").unwrap();
        for package in packages {
            let path = package.build(&root.path().join("packages"));
            root.pacman(&[
                "-Udd",
                "--noconfirm",
                "--noscriptlet",
                path.to_str().unwrap(),
            ]);
        }
        Some(root)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What the real pacman says of this root.
    pub(crate) fn pacman(&self, arguments: &[&str]) -> String {
        let output = self.try_pacman(arguments);
        assert!(output.status.success(), "{}", super::both(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_pacman(&self, arguments: &[&str]) -> std::process::Output {
        let config = self.path().join("pacman.conf");
        let text = "[options]\nArchitecture = x86_64\nSigLevel = Never\n";
        std::fs::write(&config, text).unwrap();
        let mut pacman = Command::new("fakeroot");
        pacman.args(["pacman", "--root"]).arg(self.path());
        pacman.arg("--config").arg(config);
        for (option, path) in [
            ("--dbpath", "var/lib/pacman"),
            ("--logfile", "pacman.log"),
            ("--cachedir", "cache"),
            ("--gpgdir", "gpg"),
            ("--hookdir", "hooks"),
        ] {
            pacman.arg(option).arg(self.path().join(path));
        }
        let output = pacman.args(arguments).env("LC_ALL", "C.UTF-8").output();
        output.unwrap()
    }
}
