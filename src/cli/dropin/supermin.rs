//! `supermin` 5.

use super::arguments::{Arguments, Fault, Mode, Parsed, USAGE, parse};
use super::{Voice, build, prepare, print_error};
use crate::appliance::cache;
use crate::host::{DRIVERS, Host};
use crate::{Error, Result};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The version of supermin whose behaviour this is, and ours.
///
/// Programs read the second word: libguestfs wants more than 5.1.
const VERSION: &str = concat!("supermin 5.3.5 (Freezedry ", env!("CARGO_PKG_VERSION"), ")");

pub(super) fn run(words: &[OsString]) -> ExitCode {
    if std::env::var_os("TMPDIR").is_some_and(|path| !Path::new(&path).is_absolute()) {
        let error = Error::input("environment variable $TMPDIR must be an absolute path");
        print_error(&error.hint("correct it, or unset it"));
        return ExitCode::FAILURE;
    }
    let result = match parse(words) {
        Ok(Parsed::Version) => {
            println!("{VERSION}");
            Ok(())
        }
        Ok(Parsed::Help) => {
            print!("{USAGE}");
            Ok(())
        }
        Ok(Parsed::ListDrivers) => list_drivers(),
        Ok(Parsed::Run(arguments)) => carry_out(&arguments),
        Err(Fault::Meaning(text)) => {
            eprintln!("supermin: {text}");
            return ExitCode::FAILURE;
        }
        Err(Fault::Syntax(text)) => {
            // The last line stands on its own.
            eprint!("{USAGE}\nsupermin: {text}.\n");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line a driver: its name, a tab, and whether it is this host's.
fn list_drivers() -> Result<()> {
    let here = Host::detect(Path::new("/")).ok().map(|host| host.driver());
    for driver in DRIVERS {
        let detected = if here == Some(driver) {
            "detected"
        } else {
            "not-detected"
        };
        println!("{driver}\t{detected}");
    }
    Ok(())
}

fn carry_out(arguments: &Arguments) -> Result<()> {
    let voice = Voice {
        level: arguments.verbose,
    };
    voice.say(1, &format!("version: {}", &VERSION["supermin ".len()..]));
    let host = Host::detect(Path::new("/"))?;
    voice.say(1, &format!("package handler: {}", host.driver()));
    // Held until this process ends.
    let _lock = match &arguments.lock {
        Some(path) => {
            voice.say(1, &format!("acquiring lock on {}", path.display()));
            Some(cache::lock_as_supermin(path, &mut || {
                voice.say(1, "another process holds the lock; waiting for it");
            })?)
        }
        None => None,
    };
    match arguments.mode {
        Mode::Prepare => prepare::run(arguments, &host, voice),
        Mode::Build => build::run(arguments, &host, voice),
    }
}
