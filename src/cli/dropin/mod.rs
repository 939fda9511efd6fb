//! Being another program when called by its name.

mod getopt;
mod helper;
mod prepare4;
mod privileges;
mod str_regexp;

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
        _ => None,
    }
}
