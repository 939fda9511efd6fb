//! Being supermin: its command lines, messages and exit codes, for whoever calls
//! it today and must not notice.

mod arguments;
mod build;
mod getopt;
mod helper;
mod prepare;
mod prepare4;
mod privileges;
mod str_regexp;
mod supermin;

use crate::Error;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// Runs the program that `args` (program name first) call for, if it is not
/// Freezedry itself: by the name it was called with, or by its first word.
pub(super) fn run(args: &[OsString]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    let name = Path::new(name).file_name()?;
    if let Some(code) = by_name(name, rest) {
        return Some(code);
    }
    let (word, rest) = rest.split_first()?;
    by_name(word, rest)
}

fn by_name(name: &OsStr, rest: &[OsString]) -> Option<ExitCode> {
    match name.to_str()? {
        // The second is what libguestfs 1.20 calls it.
        "supermin-helper" | "febootstrap-supermin-helper" => Some(helper::run(rest)),
        "supermin" if prepare4::is_meant(rest) => Some(prepare4::run(rest)),
        "supermin" => Some(supermin::run(rest)),
        _ => None,
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
