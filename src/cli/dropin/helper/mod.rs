//! `supermin-helper`, the building program of supermin 4.

mod command_line;

use super::privileges;
use crate::appliance::kernel;
use crate::appliance::supermin4::{self, Prepared};
use crate::host::Host;
use crate::{Error, Result};
use command_line::{Asked, Format, Request, parse};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
supermin-helper: build the supermin appliance on the fly (Freezedry)

Usage:
  supermin-helper [-f cpio|ext2] -o DIR INPUT...
  supermin-helper [-f cpio|ext2] --output-kernel FILE --output-initrd FILE
      [--output-appliance FILE] [--output-dtb FILE] INPUT...
  supermin-helper -f checksum --host-cpu CPU INPUT...
or, as older callers have it:
  supermin-helper -f checksum INPUT... CPU
  supermin-helper [-f cpio] INPUT... CPU KERNEL INITRD
  supermin-helper -f ext2 INPUT... CPU KERNEL INITRD APPLIANCE

Options:
      --copy-kernel            copy kernel and device tree instead of linking to them
      --dtb WILDCARD           look for a device tree in /boot/dtb-VERSION
  -f, --format FORMAT          cpio (the default), ext2, or checksum
  -g, --group GROUP            become this group first; only for root
      --help                   print this
      --host-cpu CPU           the processor of this host
  -k, --kmods FILE             put in only the kernel modules that match a line of FILE
  -o DIR                       write kernel, initrd, appliance and dtb to DIR
      --output-appliance FILE  write the ext2 image to FILE
      --output-dtb FILE        write the device tree to FILE
      --output-initrd FILE     write the initrd to FILE
      --output-kernel FILE     write the kernel to FILE
  -u, --user USER              become this user first; only for root
  -v, --verbose                say what is done; may be repeated
  -V, --version                print the version

Environment: SUPERMIN_KERNEL, SUPERMIN_MODULES, SUPERMIN_DTB.
Exit status: 0 success, 1 failure.
";

/// What callers that look at the version expect, and who it is really.
const VERSION: &str = concat!("supermin 4.1.6 (Freezedry ", env!("CARGO_PKG_VERSION"), ")");

/// Runs the program; `args` begin after its name.
pub(super) fn run(args: &[OsString]) -> ExitCode {
    let request = match parse(args) {
        Ok(Asked::Build(request)) => request,
        Ok(Asked::Help) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Version) => {
            println!("{VERSION}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            if fault.usage {
                eprint!("{USAGE}");
            }
            eprintln!("supermin-helper: {}", fault.message);
            return ExitCode::FAILURE;
        }
    };
    match build(&request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.advice() {
                Some(advice) => eprintln!("supermin-helper: {error}; {advice}"),
                None => eprintln!("supermin-helper: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn build(request: &Request) -> Result<()> {
    let start = Instant::now();
    let say = |level: usize, text: &str| {
        if request.verbose >= level {
            let passed = start.elapsed().as_millis();
            eprintln!("supermin helper [{passed:05}ms] {text}");
        }
    };
    if request.user.is_some() || request.group.is_some() {
        if !rustix::process::geteuid().is_root() {
            eprint!("{USAGE}");
            return Err(Error::input("-u and -g are only for root")
                .hint("leave them out, or run this as root"));
        }
        privileges::give_up(request.user.as_deref(), request.group.as_deref())?;
    }
    say(1, &format!("host_cpu = {}", request.cpu.display()));
    for input in &request.inputs {
        say(1, &format!("visiting {}", input.display()));
    }
    let host = Host::detect(Path::new("/"))?;
    let prepared = supermin4::prepare(&library_request(request)?, &host)?;
    explain(&prepared, &say);
    if request.format == Format::Checksum {
        for line in prepared.checksum_lines() {
            say(3, &String::from_utf8_lossy(&line));
        }
        println!("{}", prepared.checksum());
        return Ok(());
    }
    prepared.write(&request.outputs, request.copy_kernel)?;
    say(1, "finished creating appliance");
    Ok(())
}

fn library_request(request: &Request) -> Result<supermin4::Request> {
    // An empty variable names nothing.
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let kernel = variable("SUPERMIN_KERNEL");
    Ok(supermin4::Request {
        skeleton: request.inputs.clone(),
        kernel: kernel::Request {
            modules: variable("SUPERMIN_MODULES").map(PathBuf::from),
            version: variable("SUPERMIN_KERNEL_VERSION").and_then(|text| text.into_string().ok()),
            image: kernel.map(PathBuf::from),
            ..kernel::Request::default()
        },
        cpu: request.cpu.clone(),
        whitelist: match &request.whitelist {
            Some(path) => Some(supermin4::whitelist(path)?),
            None => None,
        },
        device_tree: variable("SUPERMIN_DTB").map(PathBuf::from),
        device_tree_name: request.device_tree.clone(),
    })
}

/// Tells what was chosen and what was left out.
fn explain(prepared: &Prepared, say: &dyn Fn(usize, &str)) {
    for notice in &prepared.report.notices {
        eprintln!("supermin-helper: {notice}");
    }
    for file in &prepared.report.unreadable {
        let path = file.path.display();
        eprintln!("supermin-helper: warning: {path}: Permission denied (ignored)");
    }
    let kernel = &prepared.selection.kernel;
    let name = kernel.image.file_name().unwrap_or(OsStr::new("?"));
    say(1, &format!("picked kernel {}", name.display()));
    say(1, &format!("modules = {}", kernel.modules.display()));
    for rejected in &prepared.selection.rejected {
        say(2, &format!("kernel not taken: {rejected}"));
    }
    for conflict in &prepared.report.conflicts {
        let (path, reason) = (conflict.path.display(), &conflict.reason);
        say(1, &format!("left out: `{path}`: {reason}"));
    }
    if !prepared.report.missing.is_empty() {
        say(
            1,
            &format!("not installed: {}", prepared.report.missing.join(", ")),
        );
    }
    for entry in &prepared.plan.entries {
        say(2, &format!("including {}", entry.path.display()));
    }
}
