//! Checking signatures with the host's programs.

use super::read::{Format, Package, Signature, Verdict};
use super::sign::installed;
use crate::{Error, Result, command, files};
use std::path::Path;
use std::process::Command;

/// Checks the signatures of `package`, which was read from `path`: with
/// `rpmkeys`, which knows the keys of the system, and with `gpg`, which knows
/// those of the user.  Where neither can tell, the verdict stays as it is.
pub(super) fn check_signatures(package: &mut Package, path: &Path) -> Result<()> {
    let signed = &package.signed;
    for signature in &mut package.signatures {
        if package.format == Format::Rpm && installed("rpmkeys") {
            rpmkeys(signature, path)?;
        }
        if matches!(signature.verdict, Verdict::NotChecked | Verdict::UnknownKey)
            && installed("gpg")
        {
            gpg(signature, signed)?;
        }
    }
    Ok(())
}

fn rpmkeys(signature: &mut Signature, path: &Path) -> Result<()> {
    let mut command = Command::new("rpmkeys");
    command
        .env("LC_ALL", "C")
        .args(["--checksig", "--verbose", "--"]);
    let said = command::run(command.arg(path))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let verdict = said
        .lines()
        .find_map(|line| rpmkeys_line(line, &signature.packet.key));
    if let Some(verdict) = verdict {
        signature.verdict = verdict;
        signature.checked_by = Some("rpmkeys".to_owned());
    }
    Ok(())
}

/// What a line says of the signature by `key`, for example
/// `    Header V4 EdDSA/SHA256 Signature, key ID 844be8cc60fba1e2: NOKEY`.
fn rpmkeys_line(line: &str, key: &str) -> Option<Verdict> {
    let (what, verdict) = line.trim().rsplit_once(": ")?;
    let (what, id) = what.rsplit_once("key ID ")?;
    let ours = !id.is_empty() && key.to_lowercase().ends_with(&id.to_lowercase());
    if !what.starts_with("Header ") || !ours {
        return None;
    }
    match verdict {
        "OK" => Some(Verdict::Good),
        "BAD" => Some(Verdict::Bad),
        "NOKEY" => Some(Verdict::UnknownKey),
        "NOTTRUSTED" => Some(Verdict::KeyNotValid),
        _ => None,
    }
}

fn gpg(signature: &mut Signature, signed: &[u8]) -> Result<()> {
    let scratch = tempfile::tempdir()
        .map_err(|e| Error::io("cannot create a directory in", std::env::temp_dir(), e))?;
    let (sig, data) = (scratch.path().join("sig"), scratch.path().join("data"));
    files::write(&sig, &signature.bytes)?;
    files::write(&data, signed)?;
    let mut command = Command::new("gpg");
    // Inspecting changes nothing and asks no server for keys.
    command.args([
        "--batch",
        "--no-auto-key-retrieve",
        "--no-auto-check-trustdb",
    ]);
    command.args(["--status-fd=1", "--verify"]);
    let said = command::run(command.arg(&sig).arg(&data))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    if let Some((verdict, signer)) = said.lines().find_map(gpg_line) {
        signature.verdict = verdict;
        signature.signer = signer;
        signature.checked_by = Some("gpg".to_owned());
    }
    Ok(())
}

/// What a line of gpg's status says; see doc/DETAILS in its source.
fn gpg_line(line: &str) -> Option<(Verdict, Option<String>)> {
    let mut words = line.strip_prefix("[GNUPG:] ")?.splitn(3, ' ');
    let verdict = match words.next()? {
        "GOODSIG" => Verdict::Good,
        "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" => Verdict::KeyNotValid,
        "BADSIG" => Verdict::Bad,
        "NO_PUBKEY" => return Some((Verdict::UnknownKey, None)),
        _ => return None,
    };
    Some((verdict, words.nth(1).map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_rpmkeys() {
        let key = "36E83645E499F3C956826FB9844BE8CC60FBA1E2";
        let line = |id: &str, verdict: &str| {
            format!("    Header V4 EdDSA/SHA256 Signature, key ID {id}: {verdict}")
        };
        for (verdict, expected) in [
            ("OK", Some(Verdict::Good)),
            ("NOKEY", Some(Verdict::UnknownKey)),
            ("BAD", Some(Verdict::Bad)),
            ("WHAT", None),
        ] {
            assert_eq!(rpmkeys_line(&line("60fba1e2", verdict), key), expected);
        }
        assert_eq!(rpmkeys_line(&line("12345678", "OK"), key), None);
        assert_eq!(rpmkeys_line("    Header SHA256 digest: OK", key), None);
    }

    #[test]
    fn lines_of_gpg() {
        assert_eq!(
            gpg_line("[GNUPG:] GOODSIG 844BE8CC60FBA1E2 Ed <ed@example.org>"),
            Some((Verdict::Good, Some("Ed <ed@example.org>".to_owned())))
        );
        assert_eq!(
            gpg_line("[GNUPG:] NO_PUBKEY 844BE8CC60FBA1E2"),
            Some((Verdict::UnknownKey, None))
        );
        assert_eq!(gpg_line("gpg: Good signature"), None);
    }
}
