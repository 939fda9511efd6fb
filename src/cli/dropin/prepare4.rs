//! `supermin --names`, the preparing program of supermin 4: it writes
//! `hostfiles` and `base.img`.

use super::str_regexp::Regexp;
use crate::appliance::supermin4::{self, Names};
use crate::host::Host;
use crate::{Error, Result, files};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A command line that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    names: Vec<String>,
    alone: bool,
    excludes: Vec<String>,
    output: PathBuf,
    use_installed: bool,
    warnings: bool,
    verbose: bool,
}

/// Whether a command line of `supermin` is one of supermin 4 that names packages.
pub(super) fn is_meant(args: &[OsString]) -> bool {
    args.iter()
        .any(|word| word == "--names" || word == "--names-only")
}

/// Runs the program; `args` begin after its name.
pub(super) fn run(args: &[OsString]) -> ExitCode {
    let request = match parse(args) {
        Ok(request) => request,
        Err(message) => {
            eprintln!("supermin: {message}");
            return ExitCode::from(2);
        }
    };
    match prepare(&request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.advice() {
                Some(advice) => eprintln!("supermin: {error}; {advice}"),
                None => eprintln!("supermin: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Takes the command line apart.  The grammar is that of OCaml's `Arg`: a value
/// is the next word, whatever it is, or follows an equals sign.
fn parse(args: &[OsString]) -> Result<Request, String> {
    let mut request = Request {
        names: Vec::new(),
        alone: false,
        excludes: Vec::new(),
        output: ".".into(),
        use_installed: false,
        warnings: true,
        verbose: false,
    };
    let mut ahead = args.iter();
    while let Some(arg) = ahead.next() {
        let word = arg.to_string_lossy();
        if !word.starts_with('-') {
            request.names.push(word.into_owned());
            continue;
        }
        let (name, glued) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(OsString::from(value))),
            None => (word.into_owned(), None),
        };
        let takes_value = matches!(
            name.as_str(),
            "--exclude" | "-o" | "--packager-config" | "--yum-config"
        );
        if glued.is_some() && !takes_value {
            return Err(format!("the option `{name}` takes no value"));
        }
        let mut value = || {
            glued
                .clone()
                .or_else(|| ahead.next().cloned())
                .ok_or_else(|| format!("the option `{name}` needs a value"))
        };
        match name.as_str() {
            "--names" => {}
            "--names-only" => request.alone = true,
            "--exclude" => request
                .excludes
                .push(value()?.to_string_lossy().into_owned()),
            "-o" => request.output = value()?.into(),
            // Nothing is downloaded, so nobody needs to be told from where.
            "--packager-config" | "--yum-config" => {
                value()?;
            }
            "--use-installed" => request.use_installed = true,
            "--no-warnings" => request.warnings = false,
            "--save-temp" | "--save-temps" => {}
            "-v" | "--verbose" => request.verbose = true,
            _ => return Err(format!("unknown option `{name}`")),
        }
    }
    Ok(request)
}

fn prepare(request: &Request) -> Result<()> {
    if request.names.is_empty() {
        return Err(Error::input("no packages are named").hint("name at least one"));
    }
    let excludes = request
        .excludes
        .iter()
        .map(|text| Regexp::new(text))
        .collect::<Result<Vec<_>>>()?;
    let host = Host::detect(Path::new("/"))?;
    let excluded = |name: &str| excludes.iter().any(|exclude| exclude.matches_start(name));
    let names = Names {
        names: request.names.clone(),
        alone: request.alone,
        use_installed: request.use_installed,
        excluded: Some(&excluded),
    };
    let made = supermin4::host_files(&names, &host)?;
    if request.warnings {
        for warning in &made.warnings {
            eprintln!("supermin: warning: {warning}");
        }
    }
    if request.verbose {
        for package in &made.packages {
            eprintln!("supermin: {package}");
        }
    }
    put(&request.output, "base.img", &made.base_image)?;
    put(&request.output, "hostfiles", &made.host_files)
}

/// Writes `content` to the file `name` in `directory`, at once.
fn put(directory: &Path, name: &str, content: &[u8]) -> Result<()> {
    let new = directory.join(OsStr::new(&format!(".{name}.new")));
    files::write(&new, content)?;
    files::rename(&new, directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&args)
    }

    #[test]
    fn command_lines() {
        let request = parsed("-o out --names bash --exclude kernel -v coreutils").unwrap();
        assert_eq!(request.names, ["bash", "coreutils"]);
        assert_eq!(request.excludes, ["kernel"]);
        assert_eq!(request.output, Path::new("out"));
        assert!(request.verbose && request.warnings && !request.alone);
        // A value is the next word, even if it looks like an option.
        let request = parsed("--names -o -v --yum-config=x --no-warnings a").unwrap();
        assert_eq!(request.output, Path::new("-v"));
        assert_eq!(request.names, ["a"]);
        for (line, problem) in [
            ("--names -x", "unknown option `-x`"),
            ("--names -o", "the option `-o` needs a value"),
            ("--names=1 a", "the option `--names` takes no value"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), problem);
        }
    }
}
