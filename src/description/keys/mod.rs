//! Every key of a description, once: what it may be, what it defaults to, what
//! it means.  The parser, the JSON Schema and appliance.yaml(5) all read this.

mod table;

pub(super) use table::{CHANGE, FILE, TOP};

use super::decode::Fault;
use std::ops::RangeInclusive;

/// A key and all that is known of it.
pub(in crate::description) struct Key {
    pub(in crate::description) name: &'static str,
    pub(in crate::description) shape: Shape,
    /// Whether it has to be there.
    pub(in crate::description) required: bool,
    /// What holds without it, as YAML; empty if that is nothing, or told in `doc`.
    pub(in crate::description) default: &'static str,
    /// A value, as YAML.
    pub(in crate::description) example: &'static str,
    /// What it means: sentences, with `code` in backquotes.
    pub(in crate::description) doc: &'static str,
}

/// The keys of a mapping.
pub(in crate::description) struct Keys {
    pub(in crate::description) list: &'static [Key],
    /// Exactly one of these has to be there; empty if there is no such rule.
    pub(in crate::description) one_of: &'static [&'static str],
}

/// What a value may be.
pub(in crate::description) enum Shape {
    /// Text that the rule accepts; a bare number counts as what is written.
    Text(Rule),
    /// The same, but a bare number is a mistake.
    Quoted(Rule),
    Number(RangeInclusive<u32>),
    /// One of a few words.
    /// One of these.
    Word(&'static [&'static str]),
    /// Nothing but `true`.
    True,
    /// `true` or `false`.
    Truth,
    List(&'static Shape),
    Map(&'static Keys),
    Either(&'static [Shape]),
}

/// What a text may be.
#[derive(Clone, Copy)]
pub(in crate::description) struct Rule {
    /// The judge, with its reason.
    pub(in crate::description) check: fn(&str) -> Result<(), Fault>,
    /// A regular expression (ECMA 262) that matches all that `check` accepts,
    /// and little more; empty for anything.
    pub(in crate::description) pattern: &'static str,
    /// The most characters; 0 for any number.
    pub(in crate::description) longest: usize,
}

impl Key {
    const fn new(name: &'static str, shape: Shape, example: &'static str) -> Self {
        Self {
            name,
            shape,
            required: false,
            default: "",
            example,
            doc: "",
        }
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}

impl Keys {
    const fn all(list: &'static [Key]) -> Self {
        Self { list, one_of: &[] }
    }

    pub(in crate::description) fn find(&self, name: &str) -> Option<&'static Key> {
        self.list.iter().find(|key| key.name == name)
    }

    pub(in crate::description) fn names(&self) -> Vec<&'static str> {
        self.list.iter().map(|key| key.name).collect()
    }
}

impl Shape {
    /// The first thing that `pick` takes of this shape or of one inside it.
    fn inner<T>(&'static self, pick: &dyn Fn(&'static Self) -> Option<T>) -> Option<T> {
        pick(self).or_else(|| match self {
            Self::List(shape) => shape.inner(pick),
            Self::Either(shapes) => shapes.iter().find_map(|shape| shape.inner(pick)),
            _ => None,
        })
    }

    pub(in crate::description) fn rule(&'static self) -> Option<Rule> {
        self.inner(&|shape| match shape {
            Self::Text(rule) | Self::Quoted(rule) => Some(*rule),
            _ => None,
        })
    }

    pub(in crate::description) fn words(&'static self) -> Option<&'static [&'static str]> {
        self.inner(&|shape| match shape {
            Self::Word(words) => Some(*words),
            _ => None,
        })
    }

    pub(in crate::description) fn keys(&'static self) -> Option<&'static Keys> {
        self.inner(&|shape| match shape {
            Self::Map(keys) => Some(*keys),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::table::{BOOT, NETWORK, PACKAGES, STORAGE};
    use super::*;
    use crate::description::parse;
    use crate::family::Family;
    use std::path::Path;

    const LEAST: &str = "name: hello\nversion: \"1.0\"\nsummary: A machine\nlicense: MIT\n\
                         maintainer: Jane Doe <jane@example.org>\npackages: [bash]\n";

    /// `value` as the value of `key` inside of `around`, in an otherwise good description.
    fn with(around: &str, key: &str, value: &str) -> String {
        let line = around.replace("KEY", &format!("{key}: {value}"));
        let top = line.split(':').next().unwrap();
        let others = LEAST
            .lines()
            .filter(|other| !other.starts_with(&format!("{top}:")));
        others
            .chain([line.as_str()])
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Every mapping of the format, and what is around one of its keys.
    const PLACES: [(&Keys, &str, &str); 7] = [
        (&TOP, "", "KEY"),
        (&PACKAGES, "packages.", "packages: {KEY}"),
        (&FILE, "files.", "files: [{path: /a, content: x, KEY}]"),
        (&BOOT, "boot.", "boot: {KEY}"),
        (&NETWORK, "boot.network.", "boot: {network: {KEY}}"),
        (&STORAGE, "boot.storage.", "boot: {storage: {KEY}}"),
        (
            &CHANGE,
            "changelog.",
            "changelog: [{version: 1-1, date: 2026-01-31, changes: [x], KEY}]",
        ),
    ];

    /// What the test above would say twice must not be there twice.
    fn around(around: &str, key: &str) -> String {
        let inside = around
            .replace(&format!("{key}: x, "), "")
            .replace(&format!("{key}: /a, "), "")
            .replace(&format!("{key}: 1-1, "), "")
            .replace(&format!("{key}: 2026-01-31, "), "")
            .replace(&format!("{key}: [x], "), "");
        // Another way to say what a file is excludes `content`.
        if FILE.one_of.contains(&key) {
            inside.replace("content: x, ", "")
        } else {
            inside
        }
    }

    #[test]
    fn the_parser_reads_every_key_of_the_table() {
        for (keys, label, place) in PLACES {
            for key in keys.list {
                let text = with(&around(place, key.name), key.name, "{a: {b: [c]}}");
                let problems = parse(&text, "x", Path::new("/nowhere")).unwrap_err();
                let named = format!("{label}{}", key.name);
                assert!(
                    problems
                        .list()
                        .iter()
                        .any(|problem| problem.title.contains(&named)
                            || problem.title.contains(&format!("in {named}"))),
                    "nothing reads `{named}`: {problems}\n{text}"
                );
            }
        }
    }

    #[test]
    fn every_example_and_every_default_is_good() {
        let folder = tempfile::tempdir().unwrap();
        crate::files::write(folder.path().join("hello.sh"), "").unwrap();
        for (keys, label, place) in PLACES {
            for key in keys.list {
                assert!(!key.doc.is_empty(), "{label}{}", key.name);
                for value in [key.example, key.default] {
                    if value.is_empty() {
                        continue;
                    }
                    let text = with(&around(place, key.name), key.name, value);
                    if let Err(problems) = parse(&text, "x", folder.path()) {
                        panic!("{label}{}: {problems}", key.name);
                    }
                }
            }
        }
    }

    #[test]
    fn a_default_is_what_holds_without_the_key() {
        let show = |text: &str| {
            let mut parsed = parse(text, "x", Path::new("/nowhere")).unwrap();
            parsed.warnings = crate::description::Problems::of("", "", Vec::new());
            format!("{parsed:?}")
        };
        for (keys, _, place) in PLACES {
            for key in keys.list.iter().filter(|key| !key.default.is_empty()) {
                // The mode of a network counts only where there is a mapping.
                let without = match place {
                    "boot: {network: {KEY}}" => with("KEY", "boot", "{network: {mode: user}}"),
                    _ => LEAST.to_owned(),
                };
                let text = with(&around(place, key.name), key.name, key.default);
                assert_eq!(show(&text), show(&without), "{}", key.name);
            }
        }
    }

    #[test]
    fn families_are_keys_of_packages() {
        let families = Family::ALL.map(Family::name);
        assert_eq!(PACKAGES.names()[1..], families);
    }
}
