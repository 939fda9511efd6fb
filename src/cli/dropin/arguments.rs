//! supermin 5's command line: the grammar is that of OCaml's `Arg` module, not
//! getopt's.
//!
//! Options and other words may be mixed; an option's value is the next word,
//! whatever it looks like, or follows `=`; there is no `--`, no clustering and
//! no abbreviation.  Options act from left to right, so that `--version` wins
//! over an unknown option behind it but not before it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `--prepare`
    Prepare,
    /// `--build`
    Build,
}

/// What is to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A directory tree.
    Chroot,
    /// A bootable appliance.
    Ext2,
}

/// A command line that says all that has to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) mode: Mode,
    /// Only with [`Mode::Build`], and then always.
    pub(super) format: Option<Format>,
    pub(super) copy_kernel: bool,
    pub(super) host_cpu: Option<String>,
    pub(super) if_newer: bool,
    pub(super) include_package_list: bool,
    pub(super) lock: Option<PathBuf>,
    pub(super) output: PathBuf,
    pub(super) packager_config: Option<PathBuf>,
    /// In bytes.
    pub(super) size: Option<u64>,
    pub(super) use_installed: bool,
    /// From 0 to 3.
    pub(super) verbose: u8,
    /// Package names or inputs.
    pub(super) words: Vec<OsString>,
}

/// What a command line comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    /// Prepare or build.
    Run(Box<Arguments>),
    /// `--version`
    Version,
    /// `--help`
    Help,
    /// `--list-drivers`
    ListDrivers,
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not understood: status 2, and the usage is shown.
    Syntax(String),
    /// It makes no sense: status 1.
    Meaning(String),
}

/// The usage, as `--help` prints it.
pub(super) const USAGE: &str = "\
supermin - tool for creating supermin appliances, by Freezedry

Usage:

  supermin --prepare LIST OF PACKAGES ...
  supermin --build INPUT [INPUT ...]

Options:

  --build                      Build a full appliance
  --copy-kernel                Copy kernel instead of symlinking
  --dtb                        Obsolete option, do not use
  -f chroot|ext2               Set output format
  --format                     -\"-
  --host-cpu ARCH              Set host CPU architecture
  --if-newer                   Only build if needed
  --include-packagelist        Add a file with the list of packages
  --list-drivers               Display list of drivers and exit
  --lock LOCKFILE              Use a lock file
  --names                      Prepare as supermin 4 did
  -o OUTPUTDIR                 Set output directory
  --packager-config CONFIGFILE Set packager config file
  --prepare                    Prepare a supermin appliance
  --size SIZE                  Set the size of the ext2 filesystem: 512M, 4G
  --use-installed              Use installed files instead of accessing network
  -v                           Enable debugging messages; up to three times
  --verbose                    -\"-
  -V                           Display version and exit
  --version                    -\"-
  -help                        Display this list of options
  --help                       Display this list of options
";

/// Reads the words behind the program's name.
pub(super) fn parse(words: &[OsString]) -> Result<Parsed, Fault> {
    let mut raw = Raw::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !word.as_bytes().starts_with(b"-") {
            raw.words.push(word.clone());
            continue;
        }
        let (name, glued) = split(word);
        let mut value = || match &glued {
            Some(value) => Ok(value.clone()),
            None => words
                .next()
                .cloned()
                .ok_or_else(|| Fault::Syntax(format!("option '{name}' needs an argument"))),
        };
        let flag = || match &glued {
            None => Ok(()),
            Some(value) => Err(Fault::Syntax(format!(
                "wrong argument '{}'; option '{}' expects no argument",
                value.display(),
                word.display()
            ))),
        };
        match name.as_str() {
            "--prepare" => flag().and_then(|()| raw.set_mode(Mode::Prepare))?,
            "--build" => flag().and_then(|()| raw.set_mode(Mode::Build))?,
            "-f" | "--format" => raw.format = Some(format(&value()?)?),
            "-o" => raw.output = Some(value()?),
            "--host-cpu" => raw.host_cpu = Some(value()?.to_string_lossy().into_owned()),
            "--lock" => raw.lock = Some(value()?.into()),
            "--packager-config" => raw.packager_config = Some(value()?.into()),
            "--size" => raw.size = Some(size(&value()?)?),
            "--copy-kernel" => flag().map(|()| raw.copy_kernel = true)?,
            "--if-newer" => flag().map(|()| raw.if_newer = true)?,
            "--include-packagelist" => flag().map(|()| raw.include_package_list = true)?,
            "--use-installed" => flag().map(|()| raw.use_installed = true)?,
            "-v" | "--verbose" => flag().map(|()| raw.verbose = (raw.verbose + 1).min(3))?,
            "-V" | "--version" => return flag().map(|()| Parsed::Version),
            "-help" | "--help" => return flag().map(|()| Parsed::Help),
            "--list-drivers" => return flag().map(|()| Parsed::ListDrivers),
            "--dtb" => {
                return Err(Fault::Meaning(
                    "--dtb was removed in supermin 5.1.18; leave it out, with the wildcard behind \
                     it: qemu makes a device tree by itself"
                        .into(),
                ));
            }
            _ => {
                return Err(Fault::Syntax(format!(
                    "unknown option '{}'",
                    word.display()
                )));
            }
        }
    }
    raw.resolve()
        .map(|arguments| Parsed::Run(Box::new(arguments)))
}

/// `NAME=VALUE` as its parts.
fn split(word: &OsStr) -> (String, Option<OsString>) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => (
            String::from_utf8_lossy(&bytes[..at]).into_owned(),
            Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned()),
        ),
        None => (word.to_string_lossy().into_owned(), None),
    }
}

fn format(text: &OsStr) -> Result<Format, Fault> {
    match text.to_str() {
        Some("ext2") => Ok(Format::Ext2),
        Some("chroot" | "fs" | "filesystem") => Ok(Format::Chroot),
        _ => Err(Fault::Meaning(format!(
            "unknown --format option ({}); it can be ext2 or chroot",
            text.display()
        ))),
    }
}

/// A decimal number, perhaps with a fraction, and one of `b`, `K`, `M` and `G`.
fn size(text: &OsStr) -> Result<u64, Fault> {
    let bad = || {
        Fault::Meaning(format!(
            "cannot parse size field '{}'; write a number with one of the units b, K, M and G: 512M, 0.5G",
            text.display()
        ))
    };
    let text = text.to_str().ok_or_else(bad)?;
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(bad)?;
    let shift = match unit {
        "b" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(bad()),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(bad());
    }
    let whole: u128 = whole.parse().map_err(|_| bad())?;
    let mut bytes = whole.checked_mul(1 << shift).ok_or_else(bad)?;
    if !fraction.is_empty() {
        let part: u128 = fraction.parse().map_err(|_| bad())?;
        bytes += (part << shift) / 10u128.pow(fraction.len() as u32);
    }
    u64::try_from(bytes).map_err(|_| bad())
}

/// What was typed, before it is known whether it makes sense.
#[derive(Debug, Default)]
struct Raw {
    mode: Option<Mode>,
    format: Option<Format>,
    copy_kernel: bool,
    host_cpu: Option<String>,
    if_newer: bool,
    include_package_list: bool,
    lock: Option<PathBuf>,
    output: Option<OsString>,
    packager_config: Option<PathBuf>,
    size: Option<u64>,
    use_installed: bool,
    verbose: u8,
    words: Vec<OsString>,
}

impl Raw {
    fn set_mode(&mut self, mode: Mode) -> Result<(), Fault> {
        match self.mode.replace(mode) {
            None => Ok(()),
            Some(_) => Err(Fault::Meaning(
                "give --prepare or --build, one of them, and once".into(),
            )),
        }
    }

    fn resolve(self) -> Result<Arguments, Fault> {
        let fault = |text: &str| Err(Fault::Meaning(text.into()));
        let Some(mode) = self.mode else {
            return fault("you must use --prepare or --build to select the mode");
        };
        match (mode, self.format) {
            (Mode::Prepare, Some(_)) => {
                return fault("cannot use --prepare and --format options together");
            }
            (Mode::Build, None) => {
                return fault(
                    "when using --build, you must specify an output --format: -f ext2 or -f chroot",
                );
            }
            _ => {}
        }
        let output = self.output.unwrap_or_default();
        // One slash at the end is removed; `/` itself cannot be replaced.
        let output = output
            .as_bytes()
            .strip_suffix(b"/")
            .unwrap_or(output.as_bytes());
        if output.is_empty() {
            return fault("output directory (-o option) must be supplied");
        }
        let output = PathBuf::from(OsStr::from_bytes(output));
        if self.words.is_empty() {
            return fault(match mode {
                Mode::Prepare => "prepare: no input packages specified",
                Mode::Build => "build: no input supermin appliance specified",
            });
        }
        Ok(Arguments {
            mode,
            format: self.format,
            copy_kernel: self.copy_kernel,
            host_cpu: self.host_cpu,
            if_newer: self.if_newer,
            include_package_list: self.include_package_list,
            lock: self.lock,
            output,
            packager_config: self.packager_config,
            size: self.size,
            use_installed: self.use_installed,
            verbose: self.verbose,
            words: self.words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Parsed, Fault> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words)
    }

    fn run(line: &str) -> Arguments {
        match read(line) {
            Ok(Parsed::Run(arguments)) => *arguments,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_libguestfs_says() {
        let arguments = run(
            "--build --verbose --if-newer --lock D/lock --copy-kernel -f ext2 --host-cpu x86_64 \
             P/supermin.d -o D/appliance.d",
        );
        assert_eq!(arguments.mode, Mode::Build);
        assert_eq!(arguments.format, Some(Format::Ext2));
        assert!(arguments.copy_kernel && arguments.if_newer);
        assert_eq!(arguments.lock, Some("D/lock".into()));
        assert_eq!(arguments.output, PathBuf::from("D/appliance.d"));
        assert_eq!(arguments.words, ["P/supermin.d"]);
        assert_eq!(arguments.verbose, 1);
    }

    #[test]
    fn the_grammar_is_ocaml_s() {
        // A value may look like an option, and follow an equals sign.
        let arguments = run("a --build -o --format=x -f=ext2 b --size=0.5G -v -v -v -v");
        assert_eq!(arguments.output, PathBuf::from("--format=x"));
        assert_eq!(arguments.words, ["a", "b"]);
        assert_eq!((arguments.size, arguments.verbose), (Some(1 << 29), 3));
        assert_eq!(
            run("--prepare bash -o out/ -o in/").output,
            PathBuf::from("in")
        );
        for (line, expected) in [
            ("--bogus --version", "unknown option '--bogus'"),
            ("-vv", "unknown option '-vv'"),
            ("-oDIR", "unknown option '-oDIR'"),
            ("--", "unknown option '--'"),
            ("-", "unknown option '-'"),
            ("--ver", "unknown option '--ver'"),
            ("-o", "option '-o' needs an argument"),
            (
                "--build=1",
                "wrong argument '1'; option '--build=1' expects no argument",
            ),
        ] {
            assert_eq!(read(line), Err(Fault::Syntax(expected.into())), "{line}");
        }
    }

    #[test]
    fn options_act_from_left_to_right() {
        assert_eq!(read("--version --bogus"), Ok(Parsed::Version));
        assert_eq!(read("-help"), Ok(Parsed::Help));
        assert_eq!(read("x --list-drivers -f bad"), Ok(Parsed::ListDrivers));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (line, start) in [
            ("", "you must use --prepare or --build"),
            ("--build --build", "give --prepare or --build"),
            (
                "--prepare -f ext2 -o x bash",
                "cannot use --prepare and --format",
            ),
            ("--build -o x in", "when using --build"),
            ("--build -f ext2 in", "output directory"),
            ("--build -f ext2 -o / in", "output directory"),
            ("--build -f ext2 -o x", "build: no input supermin appliance"),
            ("--prepare -o x", "prepare: no input packages"),
            ("-f ext3", "unknown --format option (ext3)"),
            ("--dtb x", "--dtb was removed"),
        ] {
            match read(line) {
                Err(Fault::Meaning(text)) => assert!(text.starts_with(start), "{line}: {text}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn sizes_have_exactly_one_unit() {
        for (text, expected) in [
            ("10b", 10),
            ("1K", 1024),
            ("1.5M", 3 << 19),
            ("4G", 4 << 30),
        ] {
            assert_eq!(size(OsStr::new(text)), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "5",
            "5k",
            "5Gb",
            "G",
            ".5G",
            "-1G",
            "1e9b",
            "99999999999999999999G",
            "1,5G",
            "é",
        ] {
            assert!(size(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
