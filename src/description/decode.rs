//! Taking a tree apart, with every mistake noted on the way.

use super::keys::{Key, Keys, Shape};
use super::problems::{Problem, Problems, Severity};
use super::tree::{Node, Value};
use std::ops::Range;

/// A mapping whose keys are known.
pub(super) struct Section<'a> {
    /// The place of the mapping as a whole.
    pub(super) span: Range<usize>,
    /// What it is called in messages, for example `boot`.
    name: &'a str,
    entries: Vec<(&'static Key, &'a Node)>,
}

/// The entries of the mapping `node`; unknown and missing keys are noted.
pub(super) fn section<'a>(
    node: &'a Node,
    name: &'a str,
    keys: &'static Keys,
    problems: &mut Problems,
) -> Option<Section<'a>> {
    let Value::Map(map) = &node.value else {
        problems.add(wrong_kind(node, name, "a mapping (`key: value` lines)"));
        return None;
    };
    let mut entries = Vec::new();
    for (key, value) in map {
        let known = match &key.value {
            Value::Text(text) => keys.find(text),
            _ => None,
        };
        match known {
            Some(known) => entries.push((known, value)),
            None => problems.add(unknown_key(key, name, &keys.names())),
        }
    }
    let section = Section {
        span: node.span.clone(),
        name,
        entries,
    };
    for key in keys.list.iter().filter(|key| key.required) {
        section.require(key, problems);
    }
    Some(section)
}

fn unknown_key(key: &Node, section: &str, keys: &[&str]) -> Problem {
    let text = match &key.value {
        Value::Text(text) | Value::Number(text) => text.clone(),
        other => other.kind().to_owned(),
    };
    let help = match nearest(&text, keys) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys here are {}", quoted(keys)),
    };
    Problem::error(
        &key.span,
        format!("unknown key `{text}` in {section}"),
        help,
    )
}

/// The word that `text` is probably a slip of.
pub fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &str| strsim::damerau_levenshtein(&text.to_lowercase(), word);
    let near = words.iter().min_by_key(|word| distance(word))?;
    // A third of the word may be wrong.
    (distance(near) <= near.len().div_ceil(3)).then_some(*near)
}

/// `a`, `b` and `c`.
pub(super) fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn wrong_kind(node: &Node, name: &str, expected: &str) -> Problem {
    Problem::error(
        &node.span,
        format!("{name}: expected {expected}, found {}", node.value.kind()),
        format!("write {expected}"),
    )
}

impl<'a> Section<'a> {
    /// The value of `key`, unless it is missing or empty.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entry(key).map(|(_, node)| node)
    }

    fn entry(&self, name: &str) -> Option<(&'static Key, &'a Node)> {
        let (key, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        (node.value != Value::Null).then_some((*key, *node))
    }

    pub(super) fn label(&self, key: &str) -> String {
        if self.name == "the description" {
            format!("`{key}`")
        } else {
            format!("`{}.{key}`", self.name)
        }
    }

    /// Notes that `key` has to be there.
    fn require(&self, key: &Key, problems: &mut Problems) {
        if self.get(key.name).is_none() {
            let span = self.span.start..self.span.start;
            problems.add(Problem::error(
                &span,
                format!("{} is missing", self.label(key.name)),
                format!("add a line such as `{}: {}`", key.name, key.example),
            ));
        }
    }

    /// The text of `key`, if its rule accepts it; the rule's word on it is noted.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<String> {
        let (definition, node) = self.entry(key)?;
        let rule = definition.shape.rule()?;
        let text = text(node, &self.label(key), problems)?;
        check(&text, &node.span, &self.label(key), rule.check, problems)
    }

    /// The texts of the list `key`.
    pub(super) fn texts(&self, key: &str, problems: &mut Problems) -> Vec<String> {
        let entry = self.entry(key);
        let Some((rule, node)) = entry.and_then(|(key, node)| Some((key.shape.rule()?, node)))
        else {
            return Vec::new();
        };
        texts(node, &self.label(key), rule.check, problems)
    }

    /// The mapping `key`.
    pub(super) fn section(
        &self,
        key: &str,
        name: &'a str,
        problems: &mut Problems,
    ) -> Option<Section<'a>> {
        let (key, node) = self.entry(key)?;
        section(node, name, key.shape.keys()?, problems)
    }

    /// The items of the list `key`.
    pub(super) fn items(&self, key: &str, problems: &mut Problems) -> &'a [Node] {
        match self.get(key) {
            Some(Node {
                value: Value::List(list),
                ..
            }) => list,
            Some(node) => {
                problems.add(wrong_kind(
                    node,
                    &self.label(key),
                    "a list (lines that start with `- `)",
                ));
                &[]
            }
            None => &[],
        }
    }

    /// The number `key`, within its range.
    pub(super) fn number(&self, key: &str, problems: &mut Problems) -> Option<u32> {
        let (definition, node) = self.entry(key)?;
        let Shape::Number(range) = &definition.shape else {
            return None;
        };
        let number = match &node.value {
            Value::Number(text) => text.parse().ok().filter(|number| range.contains(number)),
            _ => None,
        };
        if number.is_none() {
            let (low, high) = range.clone().into_inner();
            let title = format!(
                "{}: expected a whole number from {low} to {high}",
                self.label(key)
            );
            problems.add(Problem::error(
                &node.span,
                title,
                format!("write, for example, `{key}: {}`", low.max(1)),
            ));
        }
        number
    }

    /// The word that `key` is.
    pub(super) fn word(&self, key: &str, problems: &mut Problems) -> Option<&'static str> {
        let (definition, node) = self.entry(key)?;
        let words = definition.shape.words()?;
        word(node, &self.label(key), words, problems)
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let node = self.get(key)?;
        if let Value::Bool(truth) = node.value {
            return Some(truth);
        }
        problems.add(wrong_kind(node, &self.label(key), "`true` or `false`"));
        None
    }
}

/// What is wrong with a value, and what to do.
pub(super) struct Fault(pub(super) String, pub(super) String);

/// Text, or a number or truth value as it is written.
pub(super) fn text(node: &Node, name: &str, problems: &mut Problems) -> Option<String> {
    match &node.value {
        Value::Text(text) | Value::Number(text) => Some(text.clone()),
        _ => {
            let help = match node.value {
                Value::Bool(_) => "put it into quotes",
                _ => "write text",
            };
            problems.add(Problem {
                help: help.into(),
                ..wrong_kind(node, name, "text")
            });
            None
        }
    }
}

/// `text`, if `rule` accepts it.
pub(super) fn check(
    text: &str,
    span: &Range<usize>,
    name: &str,
    rule: impl Fn(&str) -> Result<(), Fault>,
    problems: &mut Problems,
) -> Option<String> {
    match rule(text) {
        Ok(()) => Some(text.to_owned()),
        Err(Fault(what, help)) => {
            problems.add(Problem::error(span, format!("{name}: {what}"), help));
            None
        }
    }
}

/// A list of texts.
pub(super) fn texts(
    node: &Node,
    name: &str,
    rule: impl Fn(&str) -> Result<(), Fault>,
    problems: &mut Problems,
) -> Vec<String> {
    let Value::List(list) = &node.value else {
        problems.add(wrong_kind(
            node,
            name,
            "a list (lines that start with `- `, or `[a, b]`)",
        ));
        return Vec::new();
    };
    let mut found: Vec<String> = Vec::new();
    for item in list {
        let Some(text) = text(item, name, problems) else {
            continue;
        };
        let Some(text) = check(&text, &item.span, name, &rule, problems) else {
            continue;
        };
        if found.contains(&text) {
            problems.add(Problem {
                severity: Severity::Warning,
                ..Problem::error(
                    &item.span,
                    format!("{name}: `{text}` is there twice"),
                    "remove one of the two",
                )
            });
        }
        found.push(text);
    }
    found
}

/// One of a few words.
pub(super) fn word(
    node: &Node,
    name: &str,
    words: &[&'static str],
    problems: &mut Problems,
) -> Option<&'static str> {
    if let Value::Text(text) = &node.value {
        if let Some(word) = words.iter().find(|word| *word == text) {
            return Some(word);
        }
        let help = match nearest(text, words) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it can be {}", quoted(words).replace(" and ", " or ")),
        };
        problems.add(Problem::error(
            &node.span,
            format!("{name}: `{text}` is not known"),
            help,
        ));
    } else {
        let expected = quoted(words).replace(" and ", " or ");
        problems.add(wrong_kind(node, name, &expected));
    }
    None
}
