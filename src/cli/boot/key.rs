//! The key that lets this user in to guests by ssh.

use crate::boot::storage;
use crate::{Error, Result, command, files};
use rustix::fs::FlockOperation;
use std::path::PathBuf;
use std::process::Command;

/// The private key with which this user logs in to guests; made when it is
/// needed first.
pub(super) fn key() -> Result<PathBuf> {
    // No appliance has this name.
    let directory = storage::directory()?.join(".ssh");
    files::create_private_dir_all(&directory)?;
    // Two that make one at the same time would let in different keys.
    let lock = files::create(directory.join("lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|e| Error::io("cannot lock", &directory, e))?;
    let key = directory.join("id_ed25519");
    if key.exists() {
        return Ok(key);
    }
    let scratch = tempfile::tempdir_in(&directory)
        .map_err(|e| Error::io("cannot create a directory in", &directory, e))?;
    let new = scratch.path().join("new");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "freezedry", "-f"]);
    command::output(keygen.arg(&new))?;
    // Whether there is one is asked of the private half; it comes last.
    files::rename(new.with_extension("pub"), key.with_extension("pub"))?;
    files::rename(&new, &key)?;
    Ok(key)
}

/// The public half of the key, in base64.
pub(super) fn public_key() -> Result<String> {
    let public = key()?.with_extension("pub");
    let text = files::read_text(&public)?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some("ssh-ed25519"), Some(key)) => Ok(key.to_owned()),
        _ => Err(
            Error::input(format!("`{}` is no ed25519 key", public.display()))
                .hint("remove it and its private half; new ones are made"),
        ),
    }
}
