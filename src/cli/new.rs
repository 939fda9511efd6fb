//! `freezedry new`: a description to start from.

use super::{Status, notice};
use crate::examples::{self, DESCRIPTION, Example};
use crate::{Error, Result, description, files};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Write a description to start from, or a copy of an example
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the new appliance
    #[arg(required_unless_present = "list", value_name = "NAME")]
    name: Option<String>,
    /// Copy this example instead of a minimal description
    #[arg(long, value_name = "EXAMPLE")]
    from: Option<String>,
    /// List the examples and write nothing
    #[arg(long, exclusive = true)]
    list: bool,
    /// The directory to write to; by default NAME, in the current directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let Some(name) = &arguments.name else {
        for example in examples::ALL {
            println!("{:<20} {}", example.name, example.summary());
        }
        return Ok(Status::Success);
    };
    description::check_name(name)?;
    let directory = arguments.output.clone().unwrap_or_else(|| name.into());
    // Path, whether it is executable, content; the description is the last to
    // appear, when all that it names is there.
    let mut new: Vec<(&str, bool, Vec<u8>)> = Vec::new();
    let description = match &arguments.from {
        None => examples::start(name, &maintainer())?,
        Some(from) => {
            let example = Example::find(from).ok_or_else(|| no_example(from))?;
            let others = example.files.iter().filter(|file| file.path != DESCRIPTION);
            new.extend(others.map(|file| (file.path, file.executable, file.content.to_vec())));
            example.renamed(name)
        }
    };
    new.push((DESCRIPTION, false, description.into_bytes()));
    if let Some(there) = new
        .iter()
        .map(|(path, ..)| directory.join(path))
        .find(|path| path.symlink_metadata().is_ok())
    {
        return Err(
            Error::input(format!("`{}` exists already", there.display()))
                .hint("remove it, or name another directory with --output"),
        );
    }
    for (path, executable, content) in &new {
        create(&directory.join(path), *executable, content)?;
    }
    let written = directory.join(DESCRIPTION);
    let written = written.display();
    notice(&format!(
        "wrote {written}; try it with: freezedry boot {written}"
    ));
    Ok(Status::Success)
}

/// Writes a file that must not be there.
fn create(path: &Path, executable: bool, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        files::create_dir_all(parent)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if executable { 0o777 } else { 0o666 })
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|e| Error::io("cannot write", path, e))
}

/// Who the author is, from the variables that Debian's tools use.
fn maintainer() -> String {
    let variable = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok());
    let name = variable(&["DEBFULLNAME", "NAME"]);
    let email = variable(&["DEBEMAIL", "EMAIL"]);
    match (name, email) {
        (Some(name), Some(email)) if description::is_maintainer(&format!("{name} <{email}>")) => {
            format!("{name} <{email}>")
        }
        _ => "Jane Doe <jane@example.org>".into(),
    }
}

fn no_example(wanted: &str) -> Error {
    let names: Vec<&str> = examples::ALL.iter().map(|example| example.name).collect();
    let hint = match description::nearest(wanted, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`freezedry new --list` shows them: {}", names.join(", ")),
    };
    Error::input(format!("there is no example `{wanted}`")).hint(hint)
}
