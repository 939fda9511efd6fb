//! Guests in the background: started, listed and stopped.
//!
//! Such a guest is run by a process of its own: this program, with the same
//! options and the hidden one that says which guest it is.

use crate::boot::qmp::Monitor;
use crate::boot::registry::{Claim, Entry, Registry};
use crate::cli::{Status, notice};
use crate::error::Kind;
use crate::{Error, Result, command, files};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time for a guest to shut down after its power button was pressed.
const SHUTDOWN: Duration = Duration::from_secs(30);
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
    #[arg(long)]
    pub(super) detach: bool,
    /// List the guests in the background
    #[arg(long)]
    pub(super) list: bool,
    /// Press the power button of this guest in the background, and end it after 30 seconds
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub(super) stop: Option<String>,
    /// Log in as root by ssh, or run COMMAND that way: in the guest that --detach --ssh has
    /// started, else in one that ends with it
    #[arg(long)]
    pub(super) ssh: bool,
    /// The guest in the background that this process is
    #[arg(long, hide = true, value_name = "ENTRY")]
    pub(super) entry: Option<String>,
}

/// This process as a guest in the background.
pub(super) struct Background {
    claim: Claim,
    entry: Entry,
}

impl Background {
    /// Becomes the guest `name`.
    pub(super) fn enter(
        registry: &Registry,
        name: &str,
        ports: &[(u16, u16)],
        ssh: Option<u16>,
    ) -> Result<Self> {
        let claim = registry.claim(name)?.ok_or_else(|| runs_already(name))?;
        claim.clear();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let entry = Entry {
            name: name.to_owned(),
            pid: std::process::id(),
            since: now.unwrap_or_default().as_secs(),
            ports: ports.to_vec(),
            ssh,
            up: false,
        };
        claim.publish(&entry)?;
        Ok(Self { claim, entry })
    }

    /// Lets others know that the guest is up.
    pub(super) fn up(&mut self) {
        self.entry.up = true;
        if let Err(error) = self.claim.publish(&self.entry) {
            notice(&error.to_string());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.claim.clear();
    }
}

fn runs_already(name: &str) -> Error {
    Error::host(format!("`{name}` runs already in the background"))
        .hint(format!("end it with `freezedry boot --stop {name}`"))
}

/// Prints the guests in the background.
pub(super) fn list(registry: &Registry) -> Result<()> {
    let entries = registry.list()?;
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
    let entry = registry.find(name)?.ok_or_else(|| {
        Error::input(format!("no guest `{name}` runs in the background"))
            .hint("`freezedry boot --list` shows those that do")
    })?;
    let pressed = Monitor::connect(&registry.file(name, "qmp"))
        .and_then(|mut monitor| monitor.execute("system_powerdown", &json!({})));
    let mut why = "it does not answer";
    if pressed.is_ok() {
        if gone(registry, &entry, SHUTDOWN)? {
            return Ok(());
        }
        why = "it did not shut down within 30 seconds";
    }
    notice(&format!("ending `{name}` by force: {why}"));
    if let Some(pid) = i32::try_from(entry.pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself now.
        let _ = kill_process(pid, Signal::TERM);
    }
    if gone(registry, &entry, DEATH)? {
        return Ok(());
    }
    Err(Error::new(
        Kind::System,
        format!("`{name}` (process {}) does not end", entry.pid),
    ))
}

/// Whether the guest of `entry` ends within `patience`.
fn gone(registry: &Registry, entry: &Entry, patience: Duration) -> Result<bool> {
    let start = Instant::now();
    loop {
        let there = registry.find(&entry.name)?;
        if there.is_none_or(|there| there.pid != entry.pid) {
            return Ok(true);
        }
        if start.elapsed() > patience {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}

/// What came of starting a guest in the background.
pub(super) enum Started {
    Up(Entry, Child),
    /// It has ended already, with this status.
    Ended(u8),
}

/// Starts the guest `name` in the background and waits until it is up.  With
/// `bound` it ends when this process does.
pub(super) fn start(registry: &Registry, name: &str, bound: bool) -> Result<Started> {
    if registry.find(name)?.is_some() {
        return Err(runs_already(name));
    }
    // Makes the directory, too.
    drop(registry.claim(name)?.ok_or_else(|| runs_already(name))?);
    let log = registry.file(name, "log");
    let out = files::create(&log)?;
    let err = out
        .try_clone()
        .map_err(|e| Error::io("cannot use", &log, e))?;
    let program = std::env::current_exe()
        .map_err(|e| Error::io("cannot find", "the program that runs", e))?;
    let mut child = Command::new(program);
    child
        .args(["boot", "--entry", name])
        .args(std::env::args_os().skip(2));
    child.stdin(Stdio::null()).stdout(out).stderr(err);
    new_session(&mut child);
    if bound {
        command::die_with_parent(&mut child);
    }
    let mut child = child.spawn().map_err(|e| command::not_started(&child, e))?;
    loop {
        let ended = child
            .try_wait()
            .map_err(|e| Error::io("cannot wait for", "the guest", e))?;
        if let Some(status) = ended {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return match code {
                Some(code) if code != crate::cli::COULD_NOT_BOOT => Ok(Started::Ended(code)),
                _ => Err(failed(&log)),
            };
        }
        if let Some(entry) = registry.find(name)?.filter(|entry| entry.up) {
            return Ok(Started::Up(entry, child));
        }
        std::thread::sleep(PAUSE);
    }
}

/// The error of the process whose output is in `log`: its last line.
fn failed(log: &std::path::Path) -> Error {
    let text = files::read(log).unwrap_or_default();
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
    match start(registry, name, false)? {
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
