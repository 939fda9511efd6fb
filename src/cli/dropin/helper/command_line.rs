//! The command line of `supermin-helper`, in both of its styles.

use crate::appliance::supermin4::Outputs;
use crate::cli::dropin::getopt::{self, Definition};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
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
pub(super) struct Request {
    pub(super) format: Format,
    pub(super) cpu: OsString,
    pub(super) whitelist: Option<PathBuf>,
    pub(super) copy_kernel: bool,
    pub(super) device_tree: Option<OsString>,
    pub(super) user: Option<OsString>,
    pub(super) group: Option<OsString>,
    pub(super) verbose: usize,
    pub(super) inputs: Vec<PathBuf>,
    pub(super) outputs: Outputs,
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Build(Box<Request>),
    Help,
    Version,
}

/// Why a command line means nothing; `usage` if the whole help is in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) usage: bool,
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

/// Takes the command line apart; `args` begin after the name of the program.
pub(super) fn parse(args: &[OsString]) -> Result<Asked, Fault> {
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
