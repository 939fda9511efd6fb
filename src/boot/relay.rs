//! Threads that carry bytes between the guest's ports and the user.

use super::run::Event;
use super::token::Filter;
use crate::{Error, Result, templates};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;

/// 128 random bits in hexadecimal: no output has them by accident.
pub(super) fn token() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| Error::io("cannot read", "/dev/urandom", e))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A descriptor of our own for a standard stream.
pub(crate) fn owned(file: impl AsFd) -> Result<OwnedFd> {
    file.as_fd()
        .try_clone_to_owned()
        .map_err(|e| Error::io("cannot use", "standard input or output", e))
}

/// Reads until the end, or until `take` has enough.
pub(crate) fn relay(mut from: impl Read, mut take: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) if take(&buffer[..length]) => {}
            Ok(_) => return,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Tells the guest the command, and listens for its exit status.
pub(super) fn speak(
    control: UnixStream,
    words: &[OsString],
    token: &str,
    send: Sender<Event>,
) -> Result<()> {
    let mut request = Vec::new();
    for word in words {
        let text = word.as_bytes();
        match std::str::from_utf8(text) {
            Ok(text) => request.extend(templates::shell_quote(text).into_bytes()),
            // The shell takes any bytes between quotes but the quote itself.
            Err(_) => {
                let quoted = text
                    .split(|&byte| byte == b'\'')
                    .collect::<Vec<_>>()
                    .join(&b"'\\''"[..]);
                request.extend([b"'", &quoted[..], b"'"].concat());
            }
        }
        request.push(b' ');
    }
    if !request.is_empty() {
        request.push(b'\n');
    }
    request.extend(format!("{token}\n").into_bytes());
    let mut to = control
        .try_clone()
        .map_err(|e| Error::io("cannot use", "a socket", e))?;
    // The guest reads it when it is up; a long one does not fit into the socket.
    std::thread::spawn(move || to.write_all(&request));
    std::thread::spawn(move || {
        for line in BufReader::new(control)
            .lines()
            .map_while(std::io::Result::ok)
        {
            if let Some(code) = line
                .strip_prefix("exit ")
                .and_then(|code| code.parse().ok())
            {
                let _ = send.send(Event::Exit(code)); // nobody waits any more
            }
        }
    });
    Ok(())
}

/// Passes one of the guest's streams on.
pub(super) fn pass_on(from: UnixStream, to: OwnedFd, mut filter: Filter, send: Sender<Event>) {
    let mut to = File::from(to);
    std::thread::spawn(move || {
        let mut drained = false;
        relay(from, |bytes| {
            if to.write_all(&filter.push(bytes)).is_err() {
                let _ = send.send(Event::Broken); // nobody waits any more
                return false;
            }
            if filter.ended() && !drained {
                drained = true;
                let _ = send.send(Event::Drained); // nobody waits any more
            }
            // Read on: the guest would wait for ever for a port that the host
            // has closed, and it has more to say on the others.
            true
        });
        if !drained {
            let _ = send.send(Event::Lost);
        }
    });
}

/// Shows what the guest's console says.
pub(super) fn show(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|e| Error::io("cannot write to", "standard output", e))
}
