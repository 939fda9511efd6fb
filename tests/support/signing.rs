//! Keys that are made for a test alone, and what they sign.

use super::{both, freezedry, require, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A place with keys of its own, and with hello-vm in every format.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
}

const ED25519: &str = "Ed <ed@example.org>";
pub(crate) const RSA: &str = "Rsa <rsa@example.org>";

impl Bench {
    /// `None`, after saying so, where gpg is missing.
    pub(crate) fn new() -> Option<Self> {
        if !require(&["gpg", "gpgconf"]) {
            return None;
        }
        // The path of the agent's socket must not be long.
        let dir = tempfile::Builder::new()
            .prefix("fd")
            .tempdir_in("/tmp")
            .unwrap();
        let home = dir.path().join("gpg");
        std::fs::create_dir(&home).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&home, mode).unwrap();
        let bench = Self { dir };
        bench.key(ED25519, "ed25519", "never", "");
        run(freezedry()
            .args(["package", "--format=deb,rpm", "--changes", "-o"])
            .arg(bench.dir.path().join("out"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-vm/appliance.yaml")));
        Some(bench)
    }

    pub(crate) fn key(&self, user: &str, algorithm: &str, expires: &str, passphrase: &str) {
        let mut gpg = self.gpg();
        gpg.args([
            "--batch",
            "--quiet",
            "--pinentry-mode=loopback",
            "--passphrase",
            passphrase,
        ]);
        if expires != "never" {
            // So that it has expired by now.
            gpg.args(["--faked-system-time", "20200101T000000"]);
        }
        run(gpg.args(["--quick-gen-key", user, algorithm, "sign", expires]));
    }

    pub(crate) fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", self.home()).env("LC_ALL", "C");
        gpg
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("gpg")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    pub(crate) fn rpm(&self) -> PathBuf {
        self.file("hello-vm-1.0-1.noarch.rpm")
    }

    pub(crate) fn deb(&self) -> PathBuf {
        self.file("hello-vm_1.0-1_all.deb")
    }

    pub(crate) fn freezedry(&self) -> Command {
        let mut command = freezedry();
        command
            .env("GNUPGHOME", self.home())
            .env_remove("FREEZEDRY_SIGN_KEY")
            // rpmkeys finds the keyring of the test through it.
            .env("HOME", self.dir.path())
            .stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn sign(&self, key: &str, file: &Path) -> Output {
        let mut command = self.freezedry();
        command.args(["sign", "--key", key]).arg(file);
        command.output().unwrap()
    }

    /// A public key of ours, exported.
    pub(crate) fn export(&self, user: &str) -> PathBuf {
        let path = self.dir.path().join("public");
        let key = self.gpg().args(["--export", "--armor", user]).output();
        std::fs::write(&path, key.unwrap().stdout).unwrap();
        path
    }

    /// The last line that a failed command says.
    pub(crate) fn refusal(output: &Output) -> String {
        assert_eq!(output.status.code(), Some(1), "{}", both(output));
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        said.lines().last().unwrap().to_owned()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The agent of this home, and no other.
        let mut end = Command::new("gpgconf");
        let _ = end
            .env("GNUPGHOME", self.home())
            .args(["--kill", "all"])
            .status();
    }
}
