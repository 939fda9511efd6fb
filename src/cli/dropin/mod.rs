//! Being supermin: its command line, messages and exit codes, for whoever calls
//! it today and must not notice.

mod arguments;
mod build;
mod prepare;
mod supermin;

use crate::Error;
use std::ffi::OsString;
use std::process::ExitCode;

/// A program that this one can be called as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// supermin 5
    Supermin,
}

impl Program {
    /// The program that `name` means, if it is one of these.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "supermin" => Some(Self::Supermin),
            _ => None,
        }
    }

    /// Does what `words`, those behind the program's name, ask for.
    pub(super) fn run(self, words: &[OsString]) -> ExitCode {
        match self {
            Self::Supermin => supermin::run(words),
        }
    }
}

/// What is told on the way: on standard output, as supermin does, if the user
/// wants to know as much.
#[derive(Debug, Clone, Copy)]
struct Voice {
    /// How many `-v` there are.
    level: u8,
}

impl Voice {
    /// Tells `text` from so many `-v` on.
    fn say(self, level: u8, text: &str) {
        if self.level >= level {
            println!("supermin: {text}");
        }
    }

    /// A list under what was said last.
    fn list<T: std::fmt::Display>(self, level: u8, items: impl IntoIterator<Item = T>) {
        if self.level >= level {
            for item in items {
                println!("  - {item}");
            }
        }
    }
}

/// What the user has to know in any case.
fn warn(text: &str) {
    eprintln!("supermin: warning: {text}");
}

/// One line that stands on its own, since callers often show no more than the last.
fn print_error(error: &Error) {
    match error.advice() {
        Some(advice) => eprintln!("supermin: error: {error}; {advice}"),
        None => eprintln!("supermin: error: {error}"),
    }
}
