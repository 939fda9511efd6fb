//! The command line: one file a command.  Only here is anything printed, and
//! only here are exit codes decided.
#![allow(clippy::print_stdout, clippy::print_stderr)] // this is the room that speaks

mod audit;
mod boot;
mod check;
mod clean;
mod describe;
mod diff;
mod doctor;
mod dropin;
mod inspect;
mod man;
mod new;
mod package;
mod prepare;
mod refresh;
mod rehydrate;
mod schema;
mod sign;

use crate::Error;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Whole virtual machines in packages of a few kilobytes.
#[derive(Debug, Parser)]
#[command(
    name = "freezedry",
    version,
    propagate_version = true,
    after_help = "Exit status: 0 success, 1 failure, 2 wrong usage; \
                  `freezedry boot` has its own, see `freezedry boot --help`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Arguments),
    Check(check::Arguments),
    Prepare(prepare::Arguments),
    Package(package::Arguments),
    Rehydrate(rehydrate::Arguments),
    Boot(Box<boot::Arguments>),
    Refresh(refresh::Arguments),
    Clean(clean::Arguments),
    Inspect(inspect::Arguments),
    Diff(diff::Arguments),
    Sign(sign::Arguments),
    Doctor(doctor::Arguments),
    Schema(schema::Arguments),
    Completions(man::Completions),
    #[command(hide = true)]
    Man(man::Arguments),
}

/// How a command ended, if it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// It did what was asked.
    Success,
    /// It found fault with the user's input, and said so.
    Problems,
    /// The exit status of a program in a guest, passed on untouched; or one
    /// that a command has for itself.
    External(u8),
}

/// `freezedry boot` ended without a guest's exit status.
const COULD_NOT_BOOT: u8 = 125;

/// Runs the command that `args` (program name first) ask for.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // Every status below 125 may be the guest's own, so wrong usage is 125 too.
    let booting = args.get(1).is_some_and(|word| word == "boot");
    if !booting {
        // A reader that goes away (`freezedry check | head`) ends us quietly;
        // `boot` has sockets whose other end may go away.
        restore_sigpipe();
    }
    if let Some(code) = dropin::run(&args) {
        return code;
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // nowhere left to say that it failed
            return match error.exit_code() {
                0 => ExitCode::SUCCESS,
                _ if booting => ExitCode::from(COULD_NOT_BOOT),
                _ => ExitCode::from(2),
            };
        }
    };
    let result = match &cli.command {
        Command::New(arguments) => new::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Prepare(arguments) => prepare::run(arguments),
        Command::Package(arguments) => package::run(arguments),
        Command::Rehydrate(arguments) => rehydrate::run(arguments),
        Command::Boot(arguments) => boot::run(arguments),
        Command::Refresh(arguments) => refresh::run(arguments),
        Command::Clean(arguments) => clean::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Sign(arguments) => sign::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
        Command::Completions(arguments) => man::completions(arguments),
        Command::Man(arguments) => man::run(arguments),
    };
    match result {
        Ok(Status::Success) => ExitCode::SUCCESS,
        Ok(Status::Problems) => ExitCode::FAILURE,
        Ok(Status::External(code)) => ExitCode::from(code),
        Err(error) => {
            print_error(&error);
            ExitCode::from(if booting { COULD_NOT_BOOT } else { 1 })
        }
    }
}

/// One line, since callers often show no more than the last one.
fn print_error(error: &Error) {
    match error.advice() {
        Some(advice) => notice(&format!("{error}; {advice}")),
        None => notice(&error.to_string()),
    }
}

/// Prints a line that is no result: progress, a warning, a decision.
fn notice(text: &str) {
    // The terminal may be closed already, while a guest is shut down.
    let _ = writeln!(std::io::stderr(), "freezedry: {text}");
}

#[allow(unsafe_code)]
fn restore_sigpipe() {
    // SAFETY: SIG_DFL is a valid disposition for SIGPIPE, and no other thread
    // runs yet.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
