//! Finding a place in a description again, for what is found out later.

use super::tree::{self, Node, Value};
use std::ops::Range;

/// The place, in bytes of `text`, of the value of `keys` (`["boot", "init"]`);
/// with `item`, that of the list item which is this text or has it as `path`,
/// in whatever list below.  The nearest thing around it that is there.
pub fn locate(text: &str, keys: &[&str], item: Option<&str>) -> Range<usize> {
    let Ok(root) = tree::parse(text) else {
        return 0..0;
    };
    let mut here = &root;
    // A mapping or a list as a whole is no good place to point at.
    let mut span = root.span.start..root.span.start;
    for key in keys {
        let Some((name, value)) = entry(here, key) else {
            return span;
        };
        span = match value.value {
            Value::Map(_) | Value::List(_) => name.span.clone(),
            _ => value.span.clone(),
        };
        here = value;
    }
    item.and_then(|item| find(here, item)).unwrap_or(span)
}

fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a (Node, Node)> {
    let Value::Map(map) = &node.value else {
        return None;
    };
    map.iter().find(|(name, _)| is_text(name, key))
}

fn find(node: &Node, item: &str) -> Option<Range<usize>> {
    match &node.value {
        Value::List(list) => list.iter().find_map(|node| find(node, item)),
        Value::Map(map) => match entry(node, "path") {
            Some((_, path)) => find(path, item),
            None => map.iter().find_map(|(_, node)| find(node, item)),
        },
        _ => is_text(node, item).then(|| node.span.clone()),
    }
}

fn is_text(node: &Node, text: &str) -> bool {
    matches!(&node.value, Value::Text(other) | Value::Number(other) if other == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_again() {
        let text = "packages: {all: [bash], debian: [bash2, sed]}\nfiles:\n- {path: /a, content: /b}\n\
                    boot:\n  init: echo x\n";
        let at = |keys: &[&str], item| &text[locate(text, keys, item)];
        assert_eq!(at(&["boot", "init"], None), "echo x");
        assert_eq!(at(&["boot"], None), "boot");
        assert_eq!(at(&["boot", "network"], None), "boot");
        assert_eq!(at(&["packages"], Some("sed")), "sed");
        assert_eq!(at(&["packages"], Some("zzz")), "packages");
        assert_eq!(at(&["files"], Some("/a")), "/a");
        assert_eq!(at(&["nothing"], None), "");
    }
}
