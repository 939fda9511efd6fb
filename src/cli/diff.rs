//! `freezedry diff`: what differs between two things of one kind.

use super::{Status, inspect, print_error};
use crate::package::diff::{self, Change};
use crate::{Result, error::Error};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// Show what differs between two packages, two skeletons or two appliances
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status, as that of diff(1): 0 they are the same, 1 they differ, 2 trouble.

Lines begin with `-` (only in A), `+` (only in B) or `~` (changed).

Keys of --json, which stay: `same`, and `changes`, a list of section, item, before and after
(null where there is none), sorted.  Sections are metadata, depends and the like, scripts,
signatures, files, appliance, packages, hostfiles, excludefiles and the names of tar files;
those of a skeleton in a package begin with `skeleton `.")]
pub(super) struct Arguments {
    /// The one
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The other
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[allow(clippy::unnecessary_wraps)]
pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    Ok(match compare(arguments) {
        Ok(true) => Status::Success,
        Ok(false) => Status::Problems,
        Err(error) => {
            print_error(&error);
            Status::External(2)
        }
    })
}

/// Prints the differences; whether there is none.
fn compare(arguments: &Arguments) -> Result<bool, Error> {
    let a = inspect::look(&arguments.a, None)?;
    let b = inspect::look(&arguments.b, None)?;
    let changes = diff::diff(&a, &b)?;
    if arguments.json {
        inspect::print_json(&json!({ "same": changes.is_empty(), "changes": changes }))?;
    } else {
        inspect::print(|out| print(out, &changes))?;
    }
    Ok(changes.is_empty())
}

fn print(out: &mut dyn Write, changes: &[Change]) -> std::io::Result<()> {
    let mut section = "";
    for change in changes {
        if change.section != section {
            section = &change.section;
            writeln!(out, "{}", inspect::clean(section))?;
        }
        let item = inspect::clean(&change.item);
        match (&change.before, &change.after) {
            (Some(before), None) => writeln!(out, "  - {item}{}", one(before))?,
            (None, Some(after)) => writeln!(out, "  + {item}{}", one(after))?,
            (Some(before), Some(after)) => {
                writeln!(out, "  ~ {item}: {}", inspect::clean(&both(before, after)))?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// What there is to say of something that only one has.
fn one(value: &Value) -> String {
    match value {
        Value::String(text) => format!(": {}", inspect::clean(&short(text))),
        Value::Object(parts) => match (parts.get("size"), parts.get("kind")) {
            (Some(size), Some(Value::String(kind))) if kind == "file" => format!(" ({size} bytes)"),
            (_, Some(Value::String(kind))) => format!(" ({kind})"),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// What has changed of something that both have.
fn both(before: &Value, after: &Value) -> String {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let changed = before
                .iter()
                .filter(|(key, value)| after.get(*key) != Some(value));
            let parts: Vec<String> = changed
                .map(|(key, value)| {
                    let after = after.get(key).unwrap_or(&Value::Null);
                    format!("{key} {}", both(value, after))
                })
                .collect();
            parts.join(", ")
        }
        _ => format!("{} -> {}", word(before), word(after)),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => short(text),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

/// The first line, and not too much of it.
fn short(text: &str) -> String {
    const LONGEST: usize = 60;
    // Of a digest, the beginning tells enough.
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return text[..12].to_owned();
    }
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(LONGEST).collect();
    if cut.len() < text.trim_end().len() {
        cut + "..."
    } else {
        cut
    }
}
