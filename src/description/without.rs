//! A description's text with some of its keys left out, as its author wrote the rest.

use super::tree::{self, Node, Value};

/// `text` without the lines of these keys.
///
/// Where keys do not have lines of their own, as in a description that is written
/// as JSON, or where the rest would mean something else, it is all of `text`.
pub fn without(text: &str, keys: &[&str]) -> String {
    let Ok(root) = tree::parse(text) else {
        return text.to_owned();
    };
    let Value::Map(entries) = &root.value else {
        return text.to_owned();
    };
    let mut rest = String::new();
    let mut done = 0;
    for (at, (key, _)) in entries.iter().enumerate() {
        if !is_one_of(key, keys) {
            continue;
        }
        let start = line_start(text, key.span.start);
        let next = entries.get(at + 1);
        let limit = next.map_or(text.len(), |(key, _)| line_start(text, key.span.start));
        let Some(section) = text.get(start..limit) else {
            return text.to_owned();
        };
        rest.push_str(&text[done..start]);
        // Comments and empty lines behind it belong to what follows.
        let lines = section.split_inclusive('\n');
        let mut end = start;
        let mut own = start;
        for line in lines {
            end += line.len();
            if !line.trim().is_empty() && !line.starts_with('#') {
                own = end;
            }
        }
        done = own;
    }
    rest.push_str(&text[done..]);
    let wanted = entries.iter().filter(|(key, _)| !is_one_of(key, keys));
    let same = tree::parse(&rest).is_ok_and(|left| match &left.value {
        Value::Map(left) => {
            left.len() == wanted.clone().count() && left.iter().zip(wanted).all(same_entry)
        }
        _ => false,
    });
    if same { rest } else { text.to_owned() }
}

fn is_one_of(key: &Node, keys: &[&str]) -> bool {
    matches!(&key.value, Value::Text(name) if keys.contains(&name.as_str()))
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn same_entry((one, other): (&(Node, Node), &(Node, Node))) -> bool {
    same(&one.0, &other.0) && same(&one.1, &other.1)
}

/// Whether both mean the same, wherever they stand.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(same_entry)
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&str; 2] = ["release", "changelog"];

    #[test]
    fn lines_of_keys_go_and_comments_stay() {
        let text = "# About it.\nname: box\nrelease: 2 # of 1.0\n\n# What it is made of.\npackages: [bash]\n\
            changelog:\n- version: \"1.0\"\n  # an aside\n\n  changes: |\n    release: no key\n\n    more\n# The end.\n";
        assert_eq!(
            without(text, &KEYS),
            "# About it.\nname: box\n\n# What it is made of.\npackages: [bash]\n# The end.\n"
        );
        assert_eq!(without("release: 2\nname: x", &KEYS), "name: x");
        assert_eq!(without("name: x\nrelease: 2", &KEYS), "name: x\n");
        assert_eq!(without("'release':\n  2\nname: x\n", &KEYS), "name: x\n");
    }

    #[test]
    fn what_cannot_be_cut_is_left() {
        for text in [
            "{name: x, release: 2}\n",
            "{\"name\": \"x\",\n\"release\": 2}\n",
            "release: &r 2\nversion: *r\n",
            "- release\n",
            "a: [\n",
        ] {
            assert_eq!(without(text, &KEYS), text);
        }
    }

    proptest! {
        #[test]
        fn it_never_panics(text in "((release|changelog|name|a\u{e9}):( |\n)?|[ \\[\\]{}#&*|>\"'\n,1-]|- |\u{20ac}){0,40}") {
            without(&text, &KEYS);
        }
    }
}
