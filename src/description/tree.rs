//! YAML as a tree of values that know their place.
//!
//! This is the only file that knows the YAML library.

use super::problems::Problem;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;
use std::fmt;
use std::ops::Range;

/// A value and its place, in bytes of the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// A YAML value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a truth value",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let spanned: Spanned<Raw> =
        serde_yaml::from_str(text).map_err(|error| problem(text, &error))?;
    Ok(resolve(text, spanned))
}

/// A value as the library gives it; what a number looked like is found by its place.
enum Raw {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = sequence.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = mapping.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

fn resolve(text: &str, spanned: Spanned<Raw>) -> Node {
    let span = bytes(text, &spanned.referenced);
    let value = match spanned.value {
        Raw::Null => Value::Null,
        // `yes`, `no`, `y` and `on` are words to everybody but YAML 1.1.
        Raw::Bool(value) => match text[span.clone()].trim() {
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Value::Bool(value),
            word => Value::Text(word.to_owned()),
        },
        Raw::Number => Value::Number(text[span.clone()].trim().to_owned()),
        Raw::Text(text) => Value::Text(text),
        Raw::List(list) => Value::List(list.into_iter().map(|item| resolve(text, item)).collect()),
        Raw::Map(map) => Value::Map(
            map.into_iter()
                .map(|(key, value)| (resolve(text, key), resolve(text, value)))
                .collect(),
        ),
    };
    Node { span, value }
}

fn bytes(text: &str, location: &serde_yaml::Location) -> Range<usize> {
    let span = location.span();
    let start = span
        .byte_offset()
        .and_then(|offset| usize::try_from(offset).ok());
    let length = span
        .byte_len()
        .and_then(|length| usize::try_from(length).ok());
    let start = start.unwrap_or(0).min(text.len());
    let end = (start + length.unwrap_or(0)).min(text.len());
    match text.get(start..end) {
        // Blocks reach to the line after them.
        Some(inside) => start..start + inside.trim_end().len(),
        None => 0..0,
    }
}

/// A mistake of YAML itself, in the library's words.
fn problem(text: &str, error: &serde_yaml::Error) -> Problem {
    let error = error.without_snippet();
    let location = error.location().unwrap_or(serde_yaml::Location::UNKNOWN);
    let mut span = bytes(text, &location);
    if span.is_empty()
        && let Some(line) = usize::try_from(location.line())
            .ok()
            .and_then(|n| n.checked_sub(1))
    {
        // A place without a length: by line and column.
        let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let column = usize::try_from(location.column())
            .unwrap_or(1)
            .saturating_sub(1);
        let rest = text.get(start..).unwrap_or("");
        let offset = rest
            .char_indices()
            .nth(column)
            .map_or(rest.len(), |(at, _)| at);
        span = start + offset..(start + offset + 1).min(text.len());
    }
    let message = error.to_string();
    // The place is shown beside the snippet.
    let message = message.split(" at line ").next().unwrap_or(&message);
    let message = message.rsplit_once("column ").map_or(message, |(_, rest)| {
        rest.split_once(": ")
            .map_or(message, |(_, message)| message)
    });
    // Advice to programmers, not to authors.
    let message = message.split(", set Dup").next().unwrap_or(message);
    let (title, help) = if message.contains("duplicate") {
        (message, "keep one of the two")
    } else if message.contains("budget") {
        (
            "this is too much for a description",
            "remove what is repeated over and over, such as aliases of aliases",
        )
    } else if message.contains("recursion") {
        ("this is nested too deeply", "close the brackets before")
    } else {
        (
            message,
            "correct the YAML: indent with spaces, close quotes and brackets, put text with `: ` or ` #` into quotes",
        )
    };
    Problem::error(&span, title.trim().to_owned(), help)
}
