//! `supermin-helper`, the building program of supermin 4.

use super::getopt::{self, Definition};
use super::privileges;
use crate::appliance::kernel;
use crate::appliance::supermin4::{self, Outputs, Prepared};
use crate::host::Host;
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Format {
    /// A kernel, and an initrd with everything.
    #[default]
    Cpio,
    /// A kernel, an initrd and an ext2 image.
    Ext2,
    /// A line that changes with what the appliance would be made of.
    Checksum,
}

/// A command line that means something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Request {
    format: Format,
    cpu: OsString,
    whitelist: Option<PathBuf>,
    copy_kernel: bool,
    device_tree: Option<OsString>,
    user: Option<OsString>,
    group: Option<OsString>,
    verbose: usize,
    inputs: Vec<PathBuf>,
    outputs: Outputs,
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Build(Box<Request>),
    Help,
    Version,
}

/// Why a command line means nothing; `usage` if the whole help is in order.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    message: String,
    usage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    CopyKernel,
    DeviceTree,
    Format,
    Group,
    Help,
    HostCpu,
    Whitelist,
    Output,
    OutputAppliance,
    OutputDeviceTree,
    OutputInitrd,
    OutputKernel,
    User,
    Verbose,
    Version,
}

const OPTIONS: &[Definition<Id>] = &[
    long(Id::CopyKernel, "copy-kernel", false),
    long(Id::DeviceTree, "dtb", true),
    short(Id::Format, b'f', "format", true),
    short(Id::Group, b'g', "group", true),
    long(Id::Help, "help", false),
    long(Id::HostCpu, "host-cpu", true),
    short(Id::Whitelist, b'k', "kmods", true),
    long(Id::OutputAppliance, "output-appliance", true),
    long(Id::OutputDeviceTree, "output-dtb", true),
    long(Id::OutputInitrd, "output-initrd", true),
    long(Id::OutputKernel, "output-kernel", true),
    short(Id::User, b'u', "user", true),
    short(Id::Verbose, b'v', "verbose", false),
    short(Id::Version, b'V', "version", false),
    short(Id::Output, b'o', "", true),
];

const fn long(id: Id, long: &'static str, value: bool) -> Definition<Id> {
    Definition {
        id,
        short: None,
        long,
        value,
    }
}

const fn short(id: Id, short: u8, long: &'static str, value: bool) -> Definition<Id> {
    Definition {
        id,
        short: Some(short),
        long,
        value,
    }
}

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

/// Takes the command line apart; `args` begin after the name of the program.
fn parse(args: &[OsString]) -> Result<Asked, Fault> {
    let found = getopt::parse(OPTIONS, args).map_err(|message| Fault {
        message,
        usage: true,
    })?;
    let fault = |message: &str| Fault {
        message: message.into(),
        usage: false,
    };
    let mut request = Request {
        cpu: std::env::consts::ARCH.into(),
        ..Request::default()
    };
    let mut directory: Option<PathBuf> = None;
    let mut named = Outputs::default();
    let mut new_style = false;
    for (id, value) in found.options {
        new_style |= matches!(
            id,
            Id::HostCpu
                | Id::DeviceTree
                | Id::Output
                | Id::OutputAppliance
                | Id::OutputDeviceTree
                | Id::OutputInitrd
                | Id::OutputKernel
        );
        match id {
            // Whatever follows them is not looked at.
            Id::Help => return Ok(Asked::Help),
            Id::Version => return Ok(Asked::Version),
            Id::Format => {
                request.format = match value.to_str() {
                    Some("cpio") => Format::Cpio,
                    Some("ext2") => Format::Ext2,
                    Some("checksum") => Format::Checksum,
                    _ => {
                        return Err(fault(
                            "incorrect output format (-f): must be cpio|ext2|checksum",
                        ));
                    }
                }
            }
            Id::CopyKernel => request.copy_kernel = true,
            Id::Verbose => request.verbose += 1,
            Id::HostCpu => request.cpu = value,
            Id::DeviceTree => request.device_tree = Some(value),
            Id::User => request.user = Some(value),
            Id::Group => request.group = Some(value),
            Id::Whitelist => request.whitelist = Some(value.into()),
            Id::Output => directory = Some(value.into()),
            Id::OutputAppliance => named.appliance = Some(value.into()),
            Id::OutputDeviceTree => named.device_tree = Some(value.into()),
            Id::OutputInitrd => named.initrd = Some(value.into()),
            Id::OutputKernel => named.kernel = Some(value.into()),
        }
    }
    let mut operands: Vec<PathBuf> = found.operands.into_iter().map(PathBuf::from).collect();
    if new_style {
        request.outputs = outputs(&request, directory.as_deref(), named).ok_or_else(|| {
            fault("use -o to specify output directory or --output-[kernel|dtb|initrd|appliance]")
        })?;
    } else {
        let count = match request.format {
            Format::Checksum => 0,
            Format::Cpio => 2,
            Format::Ext2 => 3,
        };
        let at = operands.len().saturating_sub(count + 1);
        let mut rest = operands.drain(at..);
        request.cpu = rest.next().unwrap_or_default().into_os_string();
        request.outputs.kernel = rest.next();
        request.outputs.initrd = rest.next();
        request.outputs.appliance = rest.next();
    }
    if operands.is_empty() {
        return Err(fault("not enough files specified on the command line"));
    }
    request.inputs = operands;
    Ok(Asked::Build(Box::new(request)))
}

/// The outputs that the format needs, by name or in `directory`; `None` if one
/// has neither.
fn outputs(request: &Request, directory: Option<&Path>, named: Outputs) -> Option<Outputs> {
    let place = |needed: bool, named: Option<PathBuf>, name: &str| match (needed, named) {
        (false, _) => Some(None),
        (true, Some(path)) => Some(Some(path)),
        (true, None) => Some(Some(directory?.join(name))),
    };
    let images = request.format != Format::Checksum;
    let tree = images && request.device_tree.is_some();
    Some(Outputs {
        kernel: place(images, named.kernel, "kernel")?,
        device_tree: place(tree, named.device_tree, "dtb")?,
        initrd: place(images, named.initrd, "initrd")?,
        appliance: place(request.format == Format::Ext2, named.appliance, "appliance")?,
    })
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, Fault> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&args)
    }

    fn request(line: &str) -> Request {
        match asked(line) {
            Ok(Asked::Build(request)) => *request,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// The four outputs in the order kernel, dtb, initrd, appliance; `-` for none.
    fn places(request: &Request) -> String {
        let outputs = &request.outputs;
        [
            &outputs.kernel,
            &outputs.device_tree,
            &outputs.initrd,
            &outputs.appliance,
        ]
        .map(|path| {
            path.as_ref()
                .map_or("-".into(), |path| path.display().to_string())
        })
        .join(" ")
    }

    #[test]
    fn command_lines_as_libguestfs_writes_them() {
        for (line, inputs, cpu, expected) in [
            // 1.24
            (
                "-f checksum --host-cpu x86_64 /g/supermin.d",
                "/g/supermin.d",
                "x86_64",
                "- - - -",
            ),
            (
                "--verbose -u 107 -g 107 -f checksum --host-cpu x86_64 d",
                "d",
                "x86_64",
                "- - - -",
            ),
            (
                "--copy-kernel -f ext2 --host-cpu x86_64 d --output-kernel k --output-initrd i --output-appliance root",
                "d",
                "x86_64",
                "k - i root",
            ),
            (
                "--copy-kernel -f ext2 --host-cpu armv7l --dtb vexpress-* d --output-kernel k --output-dtb t --output-initrd i --output-appliance root",
                "d",
                "armv7l",
                "k t i root",
            ),
            // 1.20 and 1.22
            ("-f checksum d x86_64", "d", "x86_64", "- - - -"),
            (
                "--copy-kernel -f ext2 d i686 k i root",
                "d",
                "i686",
                "k - i root",
            ),
            // By hand
            (
                "-o out a b",
                "a b",
                std::env::consts::ARCH,
                "out/kernel - out/initrd -",
            ),
            ("a b c x86_64 k i", "a b c", "x86_64", "k - i -"),
            (
                "-fext2 -oout a",
                "a",
                std::env::consts::ARCH,
                "out/kernel - out/initrd out/appliance",
            ),
            (
                "a --form=ext2 -o out --output-k k --dtb x -- -b",
                "a -b",
                std::env::consts::ARCH,
                "k out/dtb out/initrd out/appliance",
            ),
            (
                "-o x -o out a --output-appliance root",
                "a",
                std::env::consts::ARCH,
                "out/kernel - out/initrd -",
            ),
        ] {
            let request = request(line);
            let found: Vec<_> = request
                .inputs
                .iter()
                .map(|p| p.display().to_string())
                .collect();
            assert_eq!(found.join(" "), inputs, "{line}");
            assert_eq!(request.cpu, cpu, "{line}");
            assert_eq!(places(&request), expected, "{line}");
        }
    }

    #[test]
    fn options_one_by_one() {
        let found = request("-vvv --verb -k w -u 1 --group=g --copy -o d in");
        assert_eq!(found.verbose, 4);
        assert_eq!(found.whitelist, Some("w".into()));
        assert_eq!(found.user, Some("1".into()));
        assert_eq!(found.group, Some("g".into()));
        assert!(found.copy_kernel);
        assert_eq!(found.format, Format::Cpio);
        assert_eq!(asked("-f nonsense --help"), asked("-f nonsense"));
        assert_eq!(asked("--help -f nonsense"), Ok(Asked::Help));
        assert_eq!(asked("-vV"), Ok(Asked::Version));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let few = "not enough files specified on the command line";
        for (line, message, usage) in [
            ("", few, false),
            ("-f checksum d", few, false),
            ("-f ext2 d x86_64 k i", few, false),
            ("d x86_64 k", few, false),
            ("-o out", few, false),
            (
                "-f tar d",
                "incorrect output format (-f): must be cpio|ext2|checksum",
                false,
            ),
            (
                "--host-cpu x d",
                "use -o to specify output directory or --output-[kernel|dtb|initrd|appliance]",
                false,
            ),
            (
                "--output-kernel k -f ext2 d",
                "use -o to specify output directory or --output-[kernel|dtb|initrd|appliance]",
                false,
            ),
            ("-x", "invalid option -- 'x'", true),
            ("--=x d", "option '--' is ambiguous; possibilities:", true),
        ] {
            let fault = asked(line).unwrap_err();
            assert!(
                fault.message.starts_with(message),
                "{line}: {}",
                fault.message
            );
            assert_eq!(fault.usage, usage, "{line}");
        }
    }
}
