//! The JSON Schema of a description, for editors: made from the table of keys.

use super::keys::{self, Key, Keys, Rule, Shape, Words};
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
        Shape::Word(Words { known, planned }) => {
            let able: Vec<_> = known
                .iter()
                .filter(|word| !planned.contains(word))
                .collect();
            json!({"type": ["string"], "enum": able})
        }
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
