//! Guests in the background: started, listed and stopped.
//!
//! Such a guest is run by a process of its own: this program, with the same
//! options and the hidden one that says which guest it is.

use super::log::Log;
use crate::appliance::cache;
use crate::boot::SHUTDOWN;
use crate::boot::registry::{Claim, Entry, Registry};
use crate::boot::relay::owned;
use crate::cli::{Status, notice};
use crate::error::Kind;
use crate::{Error, Result, command};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time for a killed guest to be gone.
const DEATH: Duration = Duration::from_secs(10);
/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Modules with which a guest hears its power button.
pub(super) const BUTTON: [&str; 2] = ["button", "evdev"];

/// Starting and ending guests.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "In the background")]
pub(super) struct BackgroundOptions {
    /// Run the guest in the background, until it ends or --stop
    #[arg(long, conflicts_with = "reset")]
    pub(super) detach: bool,
    /// List the guests in the background
    #[arg(long, conflicts_with_all = ["detach", "ssh", "stop", "reset", "command"])]
    pub(super) list: bool,
    /// Write the list as JSON: name, pid, since (seconds since 1970), ports, ssh, up, passing
    /// (ends with the command that started it)
    #[arg(long, requires = "list")]
    pub(super) json: bool,
    /// Press the power button of this guest in the background, by default of APPLIANCE, and end it
    /// after 30 seconds
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "",
          conflicts_with_all = ["detach", "ssh", "reset", "command"])]
    pub(super) stop: Option<String>,
    /// Log in as root by ssh, or run COMMAND that way, on a terminal if there is one: in the guest
    /// that --detach --ssh has started, else in one that ends with it
    #[arg(long, conflicts_with = "reset")]
    pub(super) ssh: bool,
    /// The guest in the background that this process is
    #[arg(long, hide = true, value_name = "ENTRY")]
    pub(super) entry: Option<String>,
}

/// This process as a guest in the background.
pub(super) struct Background {
    claim: Claim,
    entry: Entry,
    parent: Option<Pid>,
    _log: Log,
}

impl Background {
    /// Becomes the guest `name`; from now on all that this process says goes to
    /// the guest's log.
    pub(super) fn enter(name: &str, options: &BackgroundOptions) -> Result<Self> {
        if name.contains('/') || name.starts_with('.') {
            return Err(Error::input(format!(
                "`{name}` cannot be the name of a guest"
            )));
        }
        let registry = Registry::of_user(&cache::directory())?;
        let claim = registry.claim(name)?.ok_or_else(|| runs_already(name))?;
        claim.clear();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let entry = Entry {
            name: name.to_owned(),
            pid: std::process::id(),
            since: now.unwrap_or_default().as_secs(),
            ports: Vec::new(),
            ssh: None,
            up: false,
            passing: !options.detach,
        };
        claim.publish(&entry)?;
        Ok(Self {
            _log: Log::begin(&registry.file(name, "log"))?,
            claim,
            entry,
            parent: getppid(),
        })
    }

    /// Where its monitor can listen.
    pub(super) fn monitor(&self) -> Result<Option<PathBuf>> {
        Ok(Registry::of_user(&cache::directory())?.monitor(&self.entry.name))
    }

    /// Lets others know how to reach the guest.
    pub(super) fn connected(&mut self, ports: &[(u16, u16)], ssh: Option<u16>) -> Result<()> {
        self.entry.ports = ports.to_vec();
        self.entry.ssh = ssh;
        self.claim.publish(&self.entry)
    }

    /// Lets others know that the guest is up.
    pub(super) fn up(&mut self) {
        self.entry.up = true;
        let released = if self.entry.passing {
            Ok(())
        } else {
            // Who has started it may go.
            set_parent_process_death_signal(None)
                .map_err(|e| Error::new(Kind::System, "cannot run on alone").caused_by(e))
        };
        if let Err(error) = released.and_then(|()| self.claim.publish(&self.entry)) {
            notice(&error.to_string());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.entry.passing && getppid() != self.parent {
            self.claim.forget();
        } else {
            self.claim.clear();
        }
    }
}

fn runs_already(name: &str) -> Error {
    Error::host(format!("`{name}` runs already in the background"))
        .hint(format!("end it with `freezedry boot --stop {name}`"))
}

/// Prints the guests in the background.
pub(super) fn list(registry: &Registry, json: bool) -> Result<()> {
    let entries = registry.list()?;
    if json {
        let text = serde_json::to_string_pretty(&entries)
            .map_err(|e| Error::input("the list cannot be written as JSON").caused_by(e))?;
        println!("{text}");
        return Ok(());
    }
    if entries.is_empty() {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    println!("{:<24} {:>8} {:>10}  PORTS", "NAME", "PID", "FOR");
    for entry in entries {
        let ports: Vec<String> = entry
            .ports
            .iter()
            .map(|(host, guest)| format!("{host}:{guest}"))
            .collect();
        let time = if entry.up {
            duration(now.saturating_sub(entry.since))
        } else {
            "starting".to_owned()
        };
        let line = format!(
            "{:<24} {:>8} {time:>10}  {}",
            entry.name,
            entry.pid,
            ports.join(" ")
        );
        println!("{}", line.trim_end());
    }
    Ok(())
}

/// A time in seconds, in the two units that matter.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// Stops the guest `name`.
pub(super) fn stop(registry: &Registry, name: &str) -> Result<()> {
    let entry = registry.find(name).ok_or_else(|| {
        Error::input(format!("no guest `{name}` runs in the background"))
            .hint("`freezedry boot --list` shows those that do")
    })?;
    let start = Instant::now();
    // Its process presses the power button, and is as patient as the help says.
    registry.signal(&entry, Signal::TERM);
    if !gone(registry, &entry, SHUTDOWN + DEATH) {
        registry.signal(&entry, Signal::KILL);
        if !gone(registry, &entry, DEATH) {
            return Err(Error::new(
                Kind::System,
                format!("`{name}` (process {}) does not end", entry.pid),
            ));
        }
    }
    if start.elapsed() >= SHUTDOWN {
        notice(&format!(
            "`{name}` did not shut down within 30 seconds, and was ended by force"
        ));
    }
    Ok(())
}

/// Whether the guest of `entry` ends within `patience`.
fn gone(registry: &Registry, entry: &Entry, patience: Duration) -> bool {
    let start = Instant::now();
    while registry
        .find(&entry.name)
        .is_some_and(|there| there.pid == entry.pid)
    {
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

/// What came of starting a guest in the background.
pub(super) enum Started {
    Up(Entry, Child),
    /// It has ended already, with this status.
    Ended(u8),
}

/// Starts the guest `name` in the background and waits until it is up.  If this
/// process ends before, so does the guest.
pub(super) fn start(registry: &Registry, name: &str) -> Result<Started> {
    if registry.find(name).is_some() {
        return Err(runs_already(name));
    }
    let said = tempfile::tempfile()
        .map_err(|e| Error::io("cannot create a file in", std::env::temp_dir(), e))?;
    let stderr = owned(&said)?;
    let program = std::env::current_exe()
        .map_err(|e| Error::io("cannot find", "the program that runs", e))?;
    let mut child = Command::new(program);
    child
        .args(["boot", "--entry", name])
        .args(std::env::args_os().skip(2));
    child
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    new_session(&mut child);
    command::signal_with_parent(&mut child, Signal::TERM);
    let mut child = child.spawn().map_err(|e| command::not_started(&child, e))?;
    loop {
        let ended = child
            .try_wait()
            .map_err(|e| Error::io("cannot wait for", "the guest", e))?;
        if let Some(status) = ended {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return match code {
                Some(code) if code != crate::cli::COULD_NOT_BOOT => Ok(Started::Ended(code)),
                _ => Err(failed(said)),
            };
        }
        let entry = registry.find(name);
        if let Some(entry) = entry.filter(|entry| entry.up && entry.pid == child.id()) {
            return Ok(Started::Up(entry, child));
        }
        std::thread::sleep(PAUSE);
    }
}

/// The error of the process whose standard error was `said`: its last line.
fn failed(mut said: File) -> Error {
    let mut text = Vec::new();
    let read = said
        .rewind()
        .and_then(|()| said.read_to_end(&mut text).map(drop));
    if let Err(error) = read {
        return Error::io("cannot read", "what the guest said", error);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    let last = last.unwrap_or("it ended without a word");
    let last = last.strip_prefix("freezedry: ").unwrap_or(last);
    Error::new(Kind::System, last)
}

/// Gives the child a session of its own: it outlives the terminal.
#[allow(unsafe_code)]
fn new_session(child: &mut Command) {
    // SAFETY: the closure makes one system call, in the forked child.
    unsafe {
        child.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

/// `--detach`: starts the guest `name` and leaves it running.
pub(super) fn detach(registry: &Registry, name: &str) -> Result<Status> {
    let log = registry.file(name, "log");
    match start(registry, name)? {
        Started::Up(entry, _) => {
            notice(&format!(
                "`{name}` runs in the background (process {}); its console is in `{}`; \
                 `freezedry boot --stop {name}` ends it",
                entry.pid,
                log.display()
            ));
            Ok(Status::Success)
        }
        Started::Ended(code) => {
            notice(&format!(
                "`{name}` has ended already; what it said is in `{}`",
                log.display()
            ));
            Ok(Status::External(code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let shown: Vec<String> = [7, 65, 3700, 90_000].map(duration).to_vec();
        assert_eq!(shown, ["7s", "1m 5s", "1h 1m", "1d 1h"]);
    }
}
