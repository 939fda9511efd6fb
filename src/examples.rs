//! The descriptions of `examples/`, and the one that `freezedry new` starts with.

use crate::{Result, templates};
use serde_json::json;

const TEMPLATE: &str = include_str!("../templates/appliance.yaml.hbs");

/// The line that tells editors where the schema is.
const MODELINE: &str =
    "# yaml-language-server: $schema=file:///usr/share/freezedry/appliance.schema.json\n";

/// An example: a folder with a description.
#[derive(Debug)]
pub struct Example {
    /// The folder's name.
    pub name: &'static str,
    /// Its files, sorted by path.
    pub files: &'static [File],
}

/// A file of an example.
#[derive(Debug)]
pub struct File {
    /// Its path in the folder.
    pub path: &'static str,
    /// Whether it is executable.
    pub executable: bool,
    /// What is in it.
    pub content: &'static [u8],
}

// `ALL`: every folder of `examples/`, written by build.rs.
include!(concat!(env!("OUT_DIR"), "/examples.rs"));

impl Example {
    /// The example called `name`.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|example| example.name == name)
    }

    /// Its description.
    fn description(&self) -> &'static str {
        let file = self.files.iter().find(|file| file.path == DESCRIPTION);
        file.and_then(|file| std::str::from_utf8(file.content).ok())
            .unwrap_or_default()
    }

    /// Its summary.
    pub fn summary(&self) -> &'static str {
        let mut lines = self.description().lines();
        lines
            .find_map(|line| line.strip_prefix("summary: "))
            .unwrap_or_default()
    }

    /// Its description, with another name.
    pub fn renamed(&self, name: &str) -> String {
        let lines = self.description().lines().map(|line| {
            if line.starts_with("name: ") {
                format!("name: {}\n", scalar(name))
            } else {
                format!("{line}\n")
            }
        });
        let text: String = lines.collect();
        if text.starts_with(MODELINE) {
            text
        } else {
            format!("{MODELINE}{text}")
        }
    }
}

/// `name` as YAML: in quotes where it would be something else than text.
fn scalar(name: &str) -> String {
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if word && !["true", "false", "null"].contains(&name) {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

/// The name of a description in its folder.
pub const DESCRIPTION: &str = "appliance.yaml";

/// A description to start from, with comments; `maintainer` is `Name <address>`.
pub fn start(name: &str, maintainer: &str) -> Result<String> {
    let data = json!({
        "name": name,
        "scalar": scalar(name),
        // JSON is YAML, whatever is in the name of a person.
        "maintainer": json!(maintainer).to_string(),
    });
    templates::render("appliance.yaml.hbs", TEMPLATE, &data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description;
    use proptest::prelude::*;
    use std::path::Path;

    proptest! {
        #[test]
        fn the_start_is_good_whatever_its_name(name in "[a-z0-9][a-z0-9+.-]{1,63}|true|null|0x10|1e5") {
            let text = start(&name, "Zoë \"Z\" O'Neil <zoe@example.org>").unwrap();
            let parsed = description::parse(&text, "x", Path::new("/nowhere"));
            let description = parsed.map_err(|problems| TestCaseError::fail(problems.to_string()))?;
            prop_assert_eq!(description.name, name);
            prop_assert!(description.warnings.is_empty());
        }
    }

    #[test]
    fn examples_keep_all_but_their_name() {
        let hello = Example::find("hello-vm").unwrap();
        assert_eq!(hello.summary(), "Virtual machine that greets its user");
        let text = hello.renamed("other");
        let parsed = description::parse(&text, "x", Path::new("/nowhere")).unwrap();
        assert_eq!(parsed.name, "other");
        assert_eq!(parsed.summary, hello.summary());
        assert!(text.starts_with(MODELINE));
    }
}
