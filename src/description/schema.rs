//! The JSON Schema of a description, for editors: made from the table of keys.

use super::keys::{self, Key, Keys, Rule, Shape};
use super::tree::{self, Node, Value as Yaml};
use serde_json::{Map, Value, json};

/// The schema, in draft 7, which every editor knows.
///
/// It accepts every description that Freezedry accepts.  It does not express
/// what concerns several keys at once, the file system, or the calendar.
pub fn schema() -> Value {
    let mut schema = mapping(&keys::TOP);
    schema.insert(
        "$schema".into(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    schema.insert("title".into(), json!("Freezedry appliance"));
    schema.insert(
        "description".into(),
        json!("The description of an appliance; see appliance.yaml(5)."),
    );
    Value::Object(schema)
}

fn mapping(keys: &Keys) -> Map<String, Value> {
    let properties: Map<String, Value> = keys
        .list
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required = keys.list.iter().filter(|key| key.required);
    let required: Vec<&str> = required.map(|key| key.name).collect();
    let mut schema = object(json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    }));
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    if !keys.one_of.is_empty() {
        let ways: Vec<Value> = keys
            .one_of
            .iter()
            .map(|key| json!({"required": [key]}))
            .collect();
        schema.insert("oneOf".into(), json!(ways));
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = shape(&key.shape);
    // `key:` without a value is as if it were not there.
    if !key.required {
        nullable(&mut schema);
    }
    schema.insert("description".into(), json!(key.doc));
    if !key.default.is_empty() {
        schema.insert("default".into(), value(key.default));
    }
    schema.insert("examples".into(), json!([value(key.example)]));
    Value::Object(schema)
}

fn shape(shape: &Shape) -> Map<String, Value> {
    object(match shape {
        Shape::Text(rule)
            if ["12", "1.2"]
                .iter()
                .any(|number| (rule.check)(number).is_ok()) =>
        {
            text(&["string", "number"], rule)
        }
        Shape::Text(rule) => text(&["string"], rule),
        Shape::Quoted(rule) => text(&["string"], rule),
        Shape::Number(range) => {
            json!({"type": ["integer"], "minimum": range.start(), "maximum": range.end()})
        }
        Shape::Word(words) => json!({"type": ["string"], "enum": words}),
        Shape::Truth => json!({"type": ["boolean"]}),
        Shape::True => json!({"type": ["boolean"], "enum": [true]}),
        Shape::List(items) => json!({"type": ["array"], "items": self::shape(items)}),
        Shape::Map(keys) => return mapping(keys),
        Shape::Either(shapes) => {
            let ways: Vec<_> = shapes.iter().map(self::shape).collect();
            json!({"anyOf": ways})
        }
    })
}

fn text(types: &[&str], rule: &Rule) -> Value {
    let mut schema = object(json!({"type": types}));
    if !rule.pattern.is_empty() {
        schema.insert("pattern".into(), json!(rule.pattern));
    }
    if rule.longest > 0 {
        schema.insert("maxLength".into(), json!(rule.longest));
    }
    Value::Object(schema)
}

/// Makes `schema` accept nothing (`null`) too.
fn nullable(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(ways)) = schema.get_mut("anyOf") {
        ways.push(json!({"type": "null"}));
        return;
    }
    match schema.get_mut("type") {
        Some(Value::Array(types)) => types.push(json!("null")),
        Some(one) => *one = json!([one.clone(), "null"]),
        None => {}
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// YAML of the table as JSON; what is no YAML is text (a test sees to it that
/// there is none).
fn value(yaml: &str) -> Value {
    tree::parse(yaml).map_or_else(|_| json!(yaml), |node| json(&node))
}

fn json(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Number(text) => text
            .parse::<i64>()
            .map_or_else(|_| json!(text), |n| json!(n)),
        Yaml::Text(text) => json!(text),
        Yaml::List(list) => list.iter().map(json).collect(),
        Yaml::Map(map) => {
            let entries = map.iter().filter_map(|(key, value)| match &key.value {
                Yaml::Text(key) => Some((key.clone(), json(value))),
                _ => None,
            });
            Value::Object(entries.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;
    use std::process::{Command, Stdio};

    /// Every rule of `keys`, and of those inside them.
    fn rules(keys: &'static Keys) -> Vec<Rule> {
        let each = keys.list.iter().flat_map(|key| {
            let inside = key.shape.keys().map(rules).unwrap_or_default();
            key.shape.rule().into_iter().chain(inside)
        });
        each.filter(|rule| !rule.pattern.is_empty()).collect()
    }

    /// Texts that are nearly, or quite, what one of the rules asks for.
    const TEXTS: &str = "[a-z0-9][-a-z0-9+.~:()_]{0,12}|/([a-z.*? ]{1,4}/?){1,3}|[*]/[a-z]{1,4}|[0-9]{1,5}[KMGTkm:]?[0-9]{0,3}\
                         |[A-Zé ]{1,9}<[a-z]{1,4}@[a-z.]{1,5}> ?|https?://[a-zé/.]{1,9}|(19[789]|20[0-9])[0-9]-0[1-9]-[012][1-9]\
                         |[0-9.]{1,3}-[0-9a-z~]{1,3}|[1-9]{2,4}[MGmg]|[1-9]{1,4}:[1-9]{1,4}|[0-7]{3,4}|[ -~é]{0,20}|[A-Z][A-Za-z .,é-]{0,90}\
                         |(ssh-(rsa|ed25519)|sk-ssh-ed25519@openssh[.]com|ecdsa-sha2-nistp256) AAAA[A-Za-z0-9+/]{16,60}={0,2}( [a-zé @.]{0,9})?";

    /// Python is the judge of the patterns, as it is in many validators.
    #[test]
    fn patterns_match_all_that_the_rules_accept() {
        let mut runner = TestRunner::deterministic();
        let texts = proptest::string::string_regex(TEXTS).unwrap();
        let mut pairs = Vec::new();
        for rule in rules(&keys::TOP) {
            let before = pairs.len();
            for _ in 0..1500 {
                let text = texts.new_tree(&mut runner).unwrap().current();
                if (rule.check)(&text).is_ok() {
                    assert!(
                        rule.longest == 0 || text.chars().count() <= rule.longest,
                        "{text}"
                    );
                    pairs.push((rule.pattern, text));
                }
            }
            assert!(
                pairs.len() > before + 5,
                "too few texts for {}",
                rule.pattern
            );
        }
        let script = "import json, re, sys\n\
            for pattern, text in json.load(sys.stdin):\n    \
                assert re.search(pattern, text), (pattern, text)\n";
        let python = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut python) = python else { return };
        serde_json::to_writer(python.stdin.take().unwrap(), &pairs).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
