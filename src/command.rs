//! Running other programs, with the end of their standard error in our message.

use crate::{Error, Result, error::Kind};
use rustix::process::Signal;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// How much of a failed program's standard error is quoted, in bytes: the
/// reason is nearly always in the last lines.
const QUOTED: usize = 1024;

/// Runs `command` to its end and returns its standard output.
///
/// Standard input is empty; standard error is captured and becomes part of the
/// error.  Not being able to start and any status but 0 are errors.  The child
/// is killed when this process dies.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let result = run(command)?;
    if result.status.success() {
        return Ok(result.stdout);
    }
    let stderr = String::from_utf8_lossy(&result.stderr);
    let stderr = stderr.trim();
    let mut start = stderr.len().saturating_sub(QUOTED);
    while !stderr.is_char_boundary(start) {
        start += 1;
    }
    Err(Error::new(
        Kind::System,
        format!("{} failed ({})", name(command), result.status),
    )
    .caused_by(stderr[start..].to_owned()))
}

/// Runs `command` to its end and returns status, standard output and standard
/// error; only not being able to start it is an error.
pub fn run(command: &mut Command) -> Result<Output> {
    die_with_parent(command)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| not_started(command, e))
}

/// Like [`run`], but with our own standard input, so that the program (or an
/// agent of its) can find the user's terminal and ask there.
pub fn converse(command: &mut Command) -> Result<Output> {
    die_with_parent(command)
        .stdin(Stdio::inherit())
        .output()
        .map_err(|e| not_started(command, e))
}

/// The error for a program that could not be started.
pub fn not_started(command: &Command, cause: std::io::Error) -> Error {
    let missing = cause.kind() == std::io::ErrorKind::NotFound;
    let name = name(command);
    let error = Error::new(Kind::Host, format!("cannot run `{name}`")).caused_by(cause);
    if missing {
        error.hint(format!("install the package that has `{name}`"))
    } else {
        error
    }
}

/// Makes the kernel kill the child when this process dies, however it dies.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    signal_with_parent(command, Signal::KILL)
}

/// Makes the kernel send the child this signal when this process dies, however it
/// dies.
#[allow(unsafe_code)]
pub fn signal_with_parent(command: &mut Command, signal: Signal) -> &mut Command {
    let parent = rustix::process::getpid();
    // SAFETY: the closure runs in the forked child and only makes system calls,
    // which are async-signal-safe; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(signal))?;
            // The parent may have died before the call above.
            if rustix::process::getppid() != Some(parent) {
                return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        })
    }
}

/// Starts the child with these signals blocked, so that only `SIGKILL` ends a
/// program that does not care.
#[allow(unsafe_code)]
pub fn block_signals<'a>(command: &'a mut Command, signals: &[i32]) -> &'a mut Command {
    let signals = signals.to_vec();
    // SAFETY: the closure runs in the forked child, only makes system calls with
    // a set that it has filled itself, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for &signal in &signals {
                libc::sigaddset(&raw mut set, signal);
            }
            match libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
    }
}

/// Lets the child inherit these descriptors, which have to stay open until it
/// has been started.
#[allow(unsafe_code)]
pub fn inherit(command: &mut Command, descriptors: Vec<RawFd>) -> &mut Command {
    // SAFETY: the closure makes one system call for each descriptor, in the
    // forked child, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            for &number in &descriptors {
                // SAFETY: the caller keeps the descriptors open.
                let descriptor = BorrowedFd::borrow_raw(number);
                rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
            }
            Ok(())
        })
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_quoted() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh failed (exit status: 3): why");
    }

    #[test]
    fn a_missing_program_comes_with_a_hint() {
        let error = output(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(
            error.advice(),
            Some("install the package that has `no-such-program`")
        );
    }
}
