//! Speaking to guests by ssh.

use super::background::{PAUSE, Started, start, stop};
use crate::boot::registry::{Entry, Registry};
use crate::boot::storage;
use crate::cli::Status;
use crate::error::Kind;
use crate::{Error, Result, command, files, templates};
use std::ffi::OsString;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Time for sshd to answer: a first boot without KVM makes its keys slowly.
const SSHD: Duration = Duration::from_secs(180);

/// `--ssh`: runs `words` in the guest `name`, or logs in; starts it if it does
/// not run.  Then it shuts down properly if it is `persistent`.
pub(super) fn run(
    registry: &Registry,
    name: &str,
    words: &[OsString],
    persistent: bool,
) -> Result<Status> {
    if let Some(entry) = registry.find(name)? {
        return connect(registry, &entry, words);
    }
    // Nobody else finds this one, since it ends with us.
    let own = format!("{name}.{}", std::process::id());
    let (entry, mut child) = match start(registry, &own, true)? {
        Started::Up(entry, child) => (entry, child),
        Started::Ended(code) => {
            return Err(Error::new(
                Kind::System,
                format!("the guest ended with status {code} before anybody could log in"),
            )
            .hint("its command has to stay: `init: systemd`, or `/usr/sbin/sshd -D`"));
        }
    };
    let status = connect(registry, &entry, words);
    let stopped = if persistent {
        stop(registry, &own)
    } else {
        Ok(())
    };
    let _ = child.kill(); // it may have ended
    let _ = child.wait();
    let _ = registry.list(); // sweeps what it left
    let _ = std::fs::remove_file(registry.file(&own, "log"));
    let _ = std::fs::remove_file(registry.file(&own, "lock"));
    let status = status?;
    stopped?;
    Ok(status)
}

fn connect(registry: &Registry, entry: &Entry, words: &[OsString]) -> Result<Status> {
    let Some(port) = entry.ssh else {
        return Err(Error::host(format!(
            "`{}` runs in the background without ssh",
            entry.name
        ))
        .hint(format!(
            "end it with `freezedry boot --stop {}`, and start it with `--detach --ssh`",
            entry.name
        )));
    };
    let start = Instant::now();
    while !answers(port) {
        let ended = registry.find(&entry.name)?.is_none();
        if ended || start.elapsed() > SSHD {
            let what = if ended {
                "the guest has ended"
            } else {
                "sshd does not answer"
            };
            let log = files::read(registry.file(&entry.name, "log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            return Err(Error::new(
                Kind::System,
                format!("{what}; its console ends: {}", last.join("; ")),
            )
            .hint("the appliance needs openssh-server, started at boot"));
        }
        std::thread::sleep(PAUSE);
    }
    let mut ssh = Command::new("ssh");
    // The user's own configuration is for other machines.
    ssh.args(["-F", "/dev/null", "-o", "LogLevel=ERROR"])
        .args(["-o", "StrictHostKeyChecking=accept-new", "-o"])
        .arg(option(
            "UserKnownHostsFile=",
            &registry.file(&entry.name, "known"),
        ))
        .args(["-o", "IdentitiesOnly=yes", "-i"])
        .arg(key()?)
        .args(["-p", &port.to_string(), "root@127.0.0.1"]);
    if !words.is_empty() {
        ssh.arg("--").arg(quoted(words));
    }
    let status = ssh.status().map_err(|e| command::not_started(&ssh, e))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Status::External(code.unwrap_or(255)))
}

/// The words as one that the shell at the other end takes apart again.
fn quoted(words: &[OsString]) -> OsString {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        match word.to_str() {
            Some(text) => line.extend(templates::shell_quote(text).into_bytes()),
            None => {
                let parts: Vec<&[u8]> = word.as_bytes().split(|&byte| byte == b'\'').collect();
                line.extend([b"'", &parts.join(&b"'\\''"[..])[..], b"'"].concat());
            }
        }
    }
    OsString::from_vec(line)
}

/// `name` and a path, in which ssh takes spaces and percent signs for its own.
fn option(name: &str, path: &Path) -> OsString {
    let mut value = name.as_bytes().to_vec();
    value.push(b'"');
    for &byte in path.as_os_str().as_bytes() {
        value.push(byte);
        if byte == b'%' {
            value.push(byte);
        }
    }
    value.push(b'"');
    OsString::from_vec(value)
}

/// Whether an sshd greets on the port.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    // qemu takes the connection before anybody in the guest does.
    let patience = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut greeting = [0; 4];
    patience.is_ok() && stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
}

/// A port of the loopback address that nobody uses at the moment.
pub(super) fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|e| Error::io("cannot find a free port of", "the loopback address", e))
}

/// The private key with which this user logs in to guests; made when it is
/// needed first.
fn key() -> Result<PathBuf> {
    // No appliance has this name.
    let directory = storage::directory()?.join(".ssh");
    files::create_private_dir_all(&directory)?;
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
    // Others look for the private key; theirs comes last.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_as_they_are() {
        let words = [
            OsString::from("it's"),
            OsString::from("a b"),
            OsString::from_vec(b"\xff'".to_vec()),
        ];
        let echo = [
            &[OsString::from("printf"), OsString::from("[%s]")],
            &words[..],
        ]
        .concat();
        let output = Command::new("sh")
            .arg("-c")
            .arg(quoted(&echo))
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"[it's][a b][\xff']");
    }
}
