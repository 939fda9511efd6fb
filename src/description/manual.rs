//! appliance.yaml(5), made from the table of keys.

use super::keys::{self, Key, Keys, Shape};

const HEAD: &str = r#".TH APPLIANCE.YAML 5 "" "freezedry VERSION" "File Formats"
.SH NAME
appliance.yaml \- the description of a Freezedry appliance
.SH DESCRIPTION
A description says what a virtual machine is made of and how it runs.
It is one YAML mapping with the keys below.
Unknown keys are mistakes;
.BR freezedry\-check (1)
names each mistake with its place and its cure.
.PP
Text may stand without quotes, but quote what YAML reads as something else:
versions such as "1.10", modes such as "0755", ports such as "2222:22".
"#;

const TAIL: &str = r#".SH EXAMPLE
.nf
name: box
version: "1.0"
summary: Python in a virtual machine
license: MIT
maintainer: Jane Doe <jane@example.org>
packages:
  all: [python3]
boot:
  init: python3 \-c \(aqprint(6*7)\(aq
.fi
.SH "SEE ALSO"
.BR freezedry (1),
.BR freezedry\-new (1),
.BR freezedry\-check (1),
.BR freezedry\-schema (1)
"#;

/// The manual page, as troff source.
pub fn manual() -> String {
    let mut page = HEAD.replace("VERSION", &escaped(env!("CARGO_PKG_VERSION")));
    page.push_str(".SH KEYS\n");
    keys_of(&keys::TOP, &mut page);
    for key in keys::TOP.list {
        nested(key.name, key, &mut page);
    }
    page.push_str(TAIL);
    page
}

/// The mapping that `key` may be, as a section of its own, and those in it.
fn nested(path: &str, key: &Key, page: &mut String) {
    let Some(keys) = inside(&key.shape) else {
        return;
    };
    let each = if matches!(key.shape, Shape::List(_)) {
        "Each item of "
    } else {
        "Keys of "
    };
    page.push_str(&format!(".SS \"{each}{}\"\n", escaped(path)));
    keys_of(keys, page);
    for key in keys.list {
        nested(&format!("{path}.{}", key.name), key, page);
    }
}

fn inside(shape: &Shape) -> Option<&'static Keys> {
    match shape {
        Shape::Map(keys) => Some(keys),
        Shape::List(shape) => inside(shape),
        Shape::Either(shapes) => shapes.iter().find_map(inside),
        _ => None,
    }
}

fn keys_of(keys: &Keys, page: &mut String) {
    for key in keys.list {
        page.push_str(&format!(
            ".TP\n\\fB{}\\fR (\\fI{}\\fR{})\n",
            escaped(key.name),
            escaped(&kind(&key.shape)),
            if key.required { ", required" } else { "" }
        ));
        for sentence in prose(key.doc) {
            page.push_str(&format!("{sentence}\n"));
        }
        let mut last = format!("Example: \\fB{}\\fR", escaped(key.example));
        if !key.default.is_empty() {
            last = format!("Default: \\fB{}\\fR.\n{last}", escaped(key.default));
        }
        page.push_str(&format!("{last}\n"));
    }
}

/// What a value may be, in a few words.
fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Text(_) => "text".into(),
        Shape::Quoted(_) => "text in quotes".into(),
        Shape::Number(range) => match range.clone().into_inner() {
            (low, u32::MAX) => format!("number from {low}"),
            (low, high) => format!("number from {low} to {high}"),
        },
        Shape::Word(words) => words.join(" | "),
        Shape::True => "true".into(),
        Shape::Truth => "true or false".into(),
        Shape::List(items) => match **items {
            Shape::Map(_) => "list of mappings".into(),
            _ => "list".into(),
        },
        Shape::Map(_) => "mapping".into(),
        Shape::Either(shapes) => {
            let kinds: Vec<String> = shapes.iter().map(kind).collect();
            kinds.join(" | ")
        }
    }
}

/// Sentences, each on a line of its own as troff wants it, with `code` in bold.
fn prose(text: &str) -> Vec<String> {
    let sentences = text.split_inclusive(". ");
    let bold = |sentence: &str| -> String {
        let parts = sentence.trim_end().split('`').map(escaped).enumerate();
        parts
            .map(|(i, part)| {
                if i % 2 == 1 {
                    format!("\\fB{part}\\fR")
                } else {
                    part
                }
            })
            .collect()
    };
    sentences.map(bold).collect()
}

/// `text` with what means something to troff taken for what it looks like.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut run = 0;
    for c in text.chars() {
        // A word longer than a line, such as a key, has to be broken somewhere.
        run = if c == ' ' { 0 } else { run + 1 };
        if run >= 20 && run % 5 == 0 {
            out.push_str("\\:");
        }
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '"' => out.push_str("\\(dq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            // A request at the start of a line.
            '.' if out.is_empty() => out.push_str("\\&."),
            c => out.push(c),
        }
    }
    out
}
