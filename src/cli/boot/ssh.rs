//! Speaking to guests by ssh.

use super::background::{PAUSE, Started, start};
use super::key;
use crate::boot::registry::{Entry, Registry};
use crate::cli::{Status, notice};
use crate::error::Kind;
use crate::{Error, Result, command, files, templates};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time for sshd to answer: a first boot without KVM makes its keys slowly.
const SSHD: Duration = Duration::from_secs(180);
/// Longer than that, and somebody at a terminal wants to know what for.
const PATIENCE: Duration = Duration::from_secs(5);

/// `--ssh`: runs `words` in the guest `name`, or logs in; starts it if it does
/// not run, and then has it end too.
pub(super) fn run(registry: &Registry, name: &str, words: &[OsString]) -> Result<Status> {
    if let Some(entry) = registry.find(name) {
        if let Some(option) = for_a_start(std::env::args_os()) {
            return Err(Error::input(format!(
                "`{name}` runs already, so that `{option}` would have no effect"
            ))
            .hint(format!(
                "leave it out, or end the guest first: `freezedry boot --stop {name}`"
            )));
        }
        return connect(registry, &entry, words, &Interrupts::hold()?);
    }
    // Nobody else finds this one, since it ends with us.
    let own = format!("{name}.{}", std::process::id());
    let started = start(registry, &own);
    if !matches!(started, Ok(Started::Up(..))) {
        forget(registry, &own)?;
    }
    let (entry, mut guest) = match started? {
        Started::Up(entry, child) => (entry, child),
        Started::Ended(code) => {
            return Err(Error::new(
                Kind::System,
                format!("the guest ended with status {code} before anybody could log in"),
            )
            .hint("its command has to stay: `init: systemd`, or `/usr/sbin/sshd -D`"));
        }
    };
    let interrupts = Interrupts::hold()?;
    let status = connect(registry, &entry, words, &interrupts);
    // It shuts down properly if anything is to last; another signal is passed on.
    interrupts.aim(Some(&guest));
    registry.signal(&entry, Signal::TERM);
    guest
        .wait()
        .map_err(|e| Error::io("cannot wait for", "the guest", e))?;
    interrupts.aim(None);
    forget(registry, &own)?;
    status
}

/// Removes what is left of a guest that nobody else knows.
fn forget(registry: &Registry, name: &str) -> Result<()> {
    if let Some(claim) = registry.claim(name)? {
        claim.forget();
    }
    Ok(())
}

/// An option among `arguments` that says how a guest is to be, if there is one.
/// What boot-NAME says by itself does not count: all up to `--init` and the skeleton.
fn for_a_start(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    const OPTIONS: [&str; 12] = [
        "all-modules",
        "cpus",
        "disk",
        "display",
        "graphical",
        "memory",
        "module",
        "network",
        "persist",
        "port",
        "rebuild",
        "share",
    ];
    let words: Vec<String> = arguments
        .map(|word| word.to_string_lossy().into_owned())
        .take_while(|word| word != "--")
        .collect();
    let wrapped = words.iter().position(|word| word.starts_with("--init="));
    let mut users = words[wrapped.unwrap_or(0)..].iter();
    users.find_map(|word| {
        let option = word.split('=').next().unwrap_or_default();
        let name = option.strip_prefix("--")?;
        OPTIONS.contains(&name).then(|| option.to_owned())
    })
}

/// Waits until the guest of `entry` has an sshd that answers at `port`; not if a
/// signal comes.
fn wait_for_sshd(
    registry: &Registry,
    entry: &Entry,
    port: u16,
    interrupts: &Interrupts,
) -> Result<()> {
    let start = Instant::now();
    let mut told = false;
    while !answers(port) && interrupts.signal().is_none() {
        if !told && start.elapsed() > PATIENCE && std::io::stderr().is_terminal() {
            told = true;
            notice("waiting for the guest's sshd");
        }
        let ended = registry.find(&entry.name).is_none();
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
            .hint("the appliance has to start sshd at boot"));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn connect(
    registry: &Registry,
    entry: &Entry,
    words: &[OsString],
    interrupts: &Interrupts,
) -> Result<Status> {
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
    wait_for_sshd(registry, entry, port, interrupts)?;
    if let Some(status) = interrupts.signal() {
        return Ok(status);
    }
    // What ssh itself has to say is apart from what the command says.
    let said = tempfile::NamedTempFile::new()
        .map_err(|e| Error::io("cannot create a file in", std::env::temp_dir(), e))?;
    let mut ssh = Command::new("ssh");
    // The user's own configuration is for other machines.
    ssh.args(["-F", "/dev/null", "-o", "LogLevel=ERROR", "-E"])
        .arg(said.path())
        .args(["-o", "StrictHostKeyChecking=accept-new", "-o"])
        .arg(option(
            "UserKnownHostsFile=",
            &registry.file(&entry.name, "known"),
        ))
        .args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"])
        .arg(key::key()?)
        .args(["-p", &port.to_string()]);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        ssh.arg("-t");
    }
    ssh.arg("root@127.0.0.1");
    if !words.is_empty() {
        ssh.arg("--").arg(command_line(words));
    }
    let mut child = ssh.spawn().map_err(|e| command::not_started(&ssh, e))?;
    interrupts.aim(Some(&child));
    let status = child
        .wait()
        .map_err(|e| Error::io("cannot wait for", "ssh", e))?;
    interrupts.aim(None);
    if let Some(status) = interrupts.signal() {
        return Ok(status);
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let said = files::read(said.path())?;
    match code {
        // The status of ssh's own failures may be the command's too.
        Some(code) if code != 255 || said.is_empty() => Ok(Status::External(code)),
        _ => {
            let said = String::from_utf8_lossy(&said).trim().replace("\r\n", "; ");
            Err(Error::new(
                Kind::System,
                format!("ssh failed: {}", said.replace('\n', "; ")),
            )
            .hint("the guest's sshd has to let root in by key"))
        }
    }
}

/// Signals that would end us before the guest is shut down.  They go to another
/// process instead, which ends of it.
struct Interrupts {
    first: Arc<AtomicI32>,
    target: Arc<Mutex<Option<Pid>>>,
}

impl Interrupts {
    fn hold() -> Result<Self> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
            .map_err(|e| Error::io("cannot wait for", "signals", e))?;
        let first = Arc::new(AtomicI32::new(0));
        let target = Arc::new(Mutex::new(None));
        let held = Self {
            first: Arc::clone(&first),
            target: Arc::clone(&target),
        };
        std::thread::spawn(move || {
            for number in signals.forever() {
                let _ = first.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
                if let Some(pid) = *locked(&target) {
                    let _ = kill_process(pid, Signal::TERM); // it may have ended
                }
            }
        });
        Ok(held)
    }

    /// Sends further signals to this child.
    fn aim(&self, child: Option<&Child>) {
        *locked(&self.target) = child.map(Pid::from_child);
    }

    /// The exit status for the first signal that came, if one did.
    fn signal(&self) -> Option<Status> {
        let number = u8::try_from(self.first.load(Ordering::SeqCst)).unwrap_or(0);
        (number > 0).then_some(Status::External(128 + number))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the shell at the other end is given.  A shell that becomes the command, or
/// ends of Ctrl-C with it, could not tell us the signal that ends it; and it says
/// nothing of its own.
fn command_line(words: &[OsString]) -> OsString {
    let mut line = OsString::from("trap : INT QUIT; exec 3>&2 2>/dev/null; ( ");
    line.push(quoted(words));
    line.push(" ) 2>&3 3>&-; exit $?");
    line
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

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
        let sh = |words: &[OsString]| {
            let mut sh = Command::new("sh");
            sh.arg("-c").arg(command_line(words));
            sh.process_group(0).output().unwrap()
        };
        assert_eq!(sh(&echo).stdout, b"[it's][a b][\xff']");
        let killed = sh(&["sh", "-c", "echo oops >&2; kill -9 $$"].map(OsString::from));
        assert_eq!(killed.status.code(), Some(137));
        assert_eq!(killed.stderr, b"oops\n");
        // As Ctrl-C in a terminal does it.
        let interrupted = sh(&["sh", "-c", "kill -INT 0"].map(OsString::from));
        assert_eq!(interrupted.status.code(), Some(130));
    }

    #[test]
    fn options_that_only_a_start_heeds() {
        let found = |line: &str| for_a_start(line.split(' ').map(OsString::from));
        assert_eq!(found("freezedry boot x.yaml --ssh -v -- ls --disk=x"), None);
        assert_eq!(
            found("freezedry boot --disk x:ro x.yaml --ssh").as_deref(),
            Some("--disk")
        );
        let wrapped = "freezedry boot --name=x --memory=512M --init=command /x/supermin.d --ssh";
        assert_eq!(found(wrapped), None);
        assert_eq!(
            found(&format!("{wrapped} --memory=1G")).as_deref(),
            Some("--memory")
        );
    }
}
