//! Running gpg or sq.

use crate::{Error, Result, command, error::Kind, files};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The environment variable that names the key.
const KEY: &str = "FREEZEDRY_SIGN_KEY";

/// Error codes of gpg-error.h, as `FAILURE` lines of gpg's status have them in
/// their lower 16 bits.
const BAD_PASSPHRASE: u32 = 11;
const CANCELED: u32 = 99;
const FULLY_CANCELED: u32 = 198;

/// What signs, and with which key.
#[derive(Debug, Clone)]
pub struct Signer {
    program: Program,
    key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Gpg,
    Sq {
        /// Before version 1 the options had other names, and keys came from
        /// files only.
        old: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A binary signature, apart from what it is of.
    Detached,
    /// The text with a signature below it.
    Clear,
}

impl Signer {
    /// What signs with `key`, else with the key that `FREEZEDRY_SIGN_KEY` names,
    /// else with gpg's default key.  A key is whatever gpg (or sq) takes:
    /// fingerprint, key ID, address; or a file with a secret key, for sq.
    pub fn new(key: Option<&str>) -> Result<Self> {
        let named = std::env::var(KEY).ok().filter(|key| !key.is_empty());
        let key = key.map(str::to_owned).or(named);
        let file = key.as_deref().is_some_and(|key| Path::new(key).is_file());
        if let Some(key) = key.as_deref().filter(|key| key.contains('/') && !file) {
            return Err(Error::input(format!("there is no file `{key}` with a key"))
                .hint("name an existing file, or a key by its fingerprint, key ID or address"));
        }
        let program = if file || !installed("gpg") {
            if !installed("sq") {
                return Err(Error::host(if file {
                    "a key in a file is used through `sq`, which is not installed"
                } else {
                    "neither `gpg` nor `sq` is installed, so nothing can be signed"
                })
                .hint("install the package gnupg (Debian), gnupg2 (Fedora) or gpg2 (openSUSE)"));
            }
            let version = command::run(Command::new("sq").arg("version"))?;
            // Version 0 has no such command, or says so.
            let said = [version.stdout, version.stderr].concat();
            Program::Sq {
                old: !version.status.success() || String::from_utf8_lossy(&said).contains("sq 0."),
            }
        } else {
            Program::Gpg
        };
        if program != Program::Gpg && key.is_none() {
            return Err(Error::input("`sq` has no default key")
                .hint(format!("name one with --key or in {KEY}")));
        }
        Ok(Self { program, key })
    }

    /// A binary signature over `bytes`.
    pub(super) fn detached(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.run(bytes, Form::Detached)
    }

    /// `text` with a signature below it.
    pub(super) fn clear(&self, text: &[u8]) -> Result<Vec<u8>> {
        self.run(text, Form::Clear)
    }

    fn run(&self, bytes: &[u8], form: Form) -> Result<Vec<u8>> {
        let scratch = tempfile::tempdir()
            .map_err(|e| Error::io("cannot create a directory in", std::env::temp_dir(), e))?;
        let (input, output) = (scratch.path().join("input"), scratch.path().join("output"));
        files::write(&input, bytes)?;
        let mut command = self.command(form, &output);
        let result = command::converse(command.arg(&input))?;
        if result.status.success() {
            return files::read(&output);
        }
        Err(self.explain(&result))
    }

    fn command(&self, form: Form, output: &Path) -> Command {
        let key = self.key.as_deref();
        match self.program {
            Program::Gpg => {
                let mut command = Command::new("gpg");
                // In batch mode gpg itself asks nothing; its agent does.
                command.args([
                    "--batch",
                    "--yes",
                    "--quiet",
                    "--no-verbose",
                    "--status-fd=2",
                ]);
                command.args(["--digest-algo", "SHA256"]);
                if let Some(key) = key {
                    command.args(["--local-user", key]);
                }
                command.args(match form {
                    Form::Detached => &["--no-armor", "--detach-sign"][..],
                    Form::Clear => &["--armor", "--textmode", "--clear-sign"],
                });
                command.arg("--output").arg(output);
                command
            }
            Program::Sq { old } => {
                let mut command = Command::new("sq");
                let key = key.unwrap_or_default();
                command.arg("sign");
                match (old, form) {
                    (true, Form::Detached) => command.args(["--binary", "--detached"]),
                    (true, Form::Clear) => command.arg("--cleartext-signature"),
                    (false, Form::Detached) => command.arg("--binary"),
                    (false, Form::Clear) => command.arg("--cleartext"),
                };
                if old {
                    command.args(["--signer-key", key]);
                } else if Path::new(key).is_file() {
                    command.args(["--signer-file", key]);
                } else if key.contains('@') {
                    command.args(["--signer-email", key]);
                } else {
                    command.args(["--signer", key]);
                }
                let mut place = std::ffi::OsString::from(if old || form == Form::Clear {
                    "--output="
                } else {
                    "--signature-file="
                });
                place.push(output);
                command.arg(place);
                command
            }
        }
    }

    /// What went wrong, in words that lead further.
    fn explain(&self, result: &Output) -> Error {
        let said = String::from_utf8_lossy(&result.stderr).into_owned();
        let key = match &self.key {
            Some(key) => format!("the key `{key}`"),
            None => "gpg's default key".to_owned(),
        };
        if self.program != Program::Gpg {
            return Error::new(Kind::System, format!("`sq` cannot sign with {key}"))
                .caused_by(said.trim().replace('\n', "; "));
        }
        let status = |word: &str| {
            let mut lines = said.lines();
            lines.find_map(|line| line.strip_prefix("[GNUPG:] ")?.strip_prefix(word))
        };
        let code = status("FAILURE sign ").and_then(|code| code.trim().parse::<u32>().ok());
        match code.map(|code| code & 0xffff) {
            Some(CANCELED | FULLY_CANCELED) => {
                return Error::input("signing was cancelled at the question for the passphrase")
                    .hint("nothing was changed; run the command again");
            }
            Some(BAD_PASSPHRASE) => {
                return Error::input(format!("the passphrase of {key} is wrong"))
                    .hint("nothing was changed; run the command again");
            }
            _ => {}
        }
        if status("INV_SGNR").is_some() || status("INV_RECP").is_some() {
            return match self.validity() {
                Some('e') => Error::input(format!("{key} has expired"))
                    .hint("extend it with `gpg --quick-set-expire`, or choose another with --key"),
                Some('r') => {
                    Error::input(format!("{key} is revoked")).hint("choose another with --key")
                }
                Some(_) => Error::input(format!("{key} cannot be used for signing")).hint(
                    "choose another with --key; `gpg --list-secret-keys` shows what there is",
                ),
                None if self.key.is_none() => Error::input("gpg has no secret key").hint(
                    "`gpg --full-generate-key` makes one, `gpg --import` takes one from a file",
                ),
                None => Error::input(format!("there is no secret key for {key}")).hint(format!(
                    "`gpg --list-secret-keys` shows what there is; name one with --key or in {KEY}"
                )),
            };
        }
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with("[GNUPG:]"))
            .map(|line| line.strip_prefix("gpg: ").unwrap_or(line))
            .collect();
        Error::new(Kind::System, format!("gpg cannot sign with {key}"))
            .caused_by(lines.join("; "))
            .hint("if it cannot ask for the passphrase here, `export GPG_TTY=$(tty)` may help")
    }

    /// The letter with which gpg's list describes the key's state, if the
    /// secret key is there: `e` expired, `r` revoked, ...
    fn validity(&self) -> Option<char> {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--with-colons", "--list-secret-keys"]);
        let listed = command::run(command.args(self.key.as_deref())).ok()?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let key = listed.lines().find_map(|line| line.strip_prefix("sec:"))?;
        key.chars().next()
    }
}

/// Whether a program is in the `PATH`.
pub(in super::super) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory: PathBuf| directory.join(program))
        .any(|path| rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_ok())
}
