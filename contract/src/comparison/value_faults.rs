//! The places where a value does not fit a schema, and what must be there, for people.

use std::fmt;

use serde_json::{Map, Value};

use super::fit::Fit;
use super::kinds::{Kinds, alternatives};
use super::steps::Steps;
use super::values::{Values, is_same};
use super::{phrases, ranges};
use crate::schema::{ArrayShape, Literal, Node, ObjectShape, Schema, Shape, TextShape};

/// The most steps for one value. What is not examined then is no fault.
const STEPS: u32 = 1_000_000;

/// The most values of an enumeration that a fault lists.
const LISTED_MAX: usize = 20;

/// One place where a value does not fit a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueFault {
    /// The place in the value: members after dots and items in brackets, such as `.device.tags[1]`;
    /// empty for the whole value.
    pub path: String,
    /// A clause that says what is wrong, such as `must be an integer` and `is required`.
    pub fault: String,
}

impl fmt::Display for ValueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.fault)
    }
}

impl Schema {
    /// Returns the places where a value does not fit, at most `most` of them. A value that may fit
    /// has none: patterns and what is not modelled are not examined.
    #[must_use]
    pub fn faults(&self, value: &Value, most: usize) -> Vec<ValueFault> {
        let steps = Steps::new(STEPS);
        let values = Values { schema: self, steps: &steps };
        let mut explanation = Explanation { values, most, path: String::new(), faults: Vec::new() };
        explanation.value(&self.root, value);
        explanation.faults
    }
}

struct Explanation<'a> {
    values: Values<'a>,
    most: usize,
    path: String,
    faults: Vec<ValueFault>,
}

impl<'a> Explanation<'a> {
    /// Explains why a value does not fit a node, if that is certain.
    fn value(&mut self, node: &'a Node, value: &Value) {
        if self.faults.len() >= self.most || self.values.admit(node, value) != Fit::No {
            return;
        }

        let nodes = alternatives(self.values.schema, node, self.values.steps);
        match self.meant(&nodes, value) {
            Some(node) => self.shape(&node.shape, value),
            None => self.add(demand_of(&nodes)),
        }
    }

    /// Returns the alternative that was meant: the only one, the only one of the type of the value,
    /// or the only one of these whose members with a single value have that value.
    fn meant(&self, nodes: &[&'a Node], value: &Value) -> Option<&'a Node> {
        if let [node] = nodes {
            return Some(node);
        }
        let kind = Kinds::of_value(value);
        let of_kind: Vec<_> =
            nodes.iter().copied().filter(|node| Kinds::of_shape(&node.shape).meets(kind)).collect();
        let tagged: Vec<_> = of_kind.iter().copied().filter(|node| has_tags(&node.shape, value)).collect();
        match (of_kind.as_slice(), tagged.as_slice()) {
            ([node], _) | (_, [node]) => Some(node),
            _ => None,
        }
    }

    fn shape(&mut self, shape: &'a Shape, value: &Value) {
        match (shape, value) {
            (Shape::Array(shape), Value::Array(items)) => self.items(shape, items),
            (Shape::Object(shape), Value::Object(members)) => self.members(shape, members),
            (Shape::Text(shape), Value::String(text)) => self.text(shape, text),
            (Shape::Integer(shape), Value::Number(_)) if Kinds::of_value(value) == Kinds::INTEGER => {
                let (least, greatest) = ranges::bounds(shape);
                self.range(least, greatest);
            }
            (Shape::Number(shape), Value::Number(_)) => self.range(shape.minimum, shape.maximum),
            _ => self.add(demand_of_shape(shape)),
        }
    }

    fn items(&mut self, shape: &'a ArrayShape, items: &[Value]) {
        self.length(items.len(), (shape.min_items, shape.max_items), "item");
        for (at, item) in items.iter().enumerate() {
            let node = shape.prefix.get(at).unwrap_or(&shape.items);
            self.at(&format!("[{at}]"), |this| this.value(node, item));
        }
    }

    fn members(&mut self, shape: &'a ObjectShape, members: &Map<String, Value>) {
        for property in &shape.properties {
            let name = &property.name;
            self.at(&phrases::member(name), |this| match members.get(name) {
                Some(value) => this.value(&property.node, value),
                None if property.is_required => this.add("is required".to_owned()),
                None => {}
            });
        }

        let is_named = |name: &str| shape.properties.iter().any(|property| property.name == name);
        for (name, value) in members.iter().filter(|(name, _)| !is_named(name)) {
            self.at(&phrases::member(name), |this| match &shape.additional.shape {
                Shape::Never => this.add("is no member".to_owned()),
                _ => this.value(&shape.additional, value),
            });
        }
    }

    fn text(&mut self, shape: &TextShape, text: &str) {
        self.length(text.chars().count(), (shape.min_length, shape.max_length), "character");
    }

    fn length(&mut self, length: usize, (least, greatest): (Option<u64>, Option<u64>), unit: &str) {
        let length = length as u64;
        let counted = |count: u64| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
        if let Some(least) = least.filter(|least| length < *least) {
            self.add(format!("must have at least {}", counted(least)));
        }
        if let Some(greatest) = greatest.filter(|greatest| length > *greatest) {
            self.add(format!("must have at most {}", counted(greatest)));
        }
    }

    fn range(&mut self, least: Option<impl std::fmt::Display>, greatest: Option<impl std::fmt::Display>) {
        self.add(match (least, greatest) {
            (Some(least), Some(greatest)) => format!("must be {least} to {greatest}"),
            (Some(least), None) => format!("must be at least {least}"),
            (None, Some(greatest)) => format!("must be at most {greatest}"),
            (None, None) => "must be another number".to_owned(),
        });
    }

    /// Explains what is at a place inside of the value.
    fn at(&mut self, step: &str, explain: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        explain(self);
        self.path.truncate(length);
    }

    fn add(&mut self, fault: String) {
        if self.faults.len() < self.most {
            self.faults.push(ValueFault { path: self.path.clone(), fault });
        }
    }
}

/// Returns whether the members of an object that have a single value have that value.
fn has_tags(shape: &Shape, value: &Value) -> bool {
    let Shape::Object(shape) = shape else { return true };
    shape.properties.iter().all(|property| match (&property.node.shape, value.get(&property.name)) {
        (Shape::Literals(literals), Some(value)) if literals.len() == 1 => is_same(&literals[0].value, value),
        _ => true,
    })
}

/// Returns what a value must be to fit one of these, as a clause.
fn demand_of(nodes: &[&Node]) -> String {
    let literals: Vec<_> = nodes.iter().filter_map(|node| literals_of(&node.shape)).collect();
    match literals.len() == nodes.len() {
        true => demand_of_literals(literals.into_iter().flatten()),
        false => format!("must be {}", Kinds::of_all(nodes).names()),
    }
}

fn demand_of_shape(shape: &Shape) -> String {
    match literals_of(shape) {
        Some(literals) => demand_of_literals(literals.iter()),
        None => format!("must be {}", Kinds::of_shape(shape).names()),
    }
}

fn literals_of(shape: &Shape) -> Option<&[Literal]> {
    match shape {
        Shape::Literals(literals) => Some(literals),
        _ => None,
    }
}

fn demand_of_literals<'a>(literals: impl Iterator<Item = &'a Literal>) -> String {
    let mut values: Vec<_> =
        literals.take(LISTED_MAX + 1).map(|literal| phrases::value(&literal.value)).collect();
    let more = if values.len() > LISTED_MAX { ", or another value" } else { "" };
    values.truncate(LISTED_MAX);
    format!("must be {}{more}", values.join(" or "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(schema: Value, value: Value) -> Vec<String> {
        let schema = Schema::from_value(schema).unwrap();
        let faults = schema.faults(&value, 10);
        faults.iter().map(ToString::to_string).collect()
    }

    fn device() -> Value {
        json!({ "type": "object", "properties": {
            "id": { "type": "string", "minLength": 1 }, "status": { "$ref": "#/$defs/Status" },
            "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 2 },
            "at": { "type": ["integer", "null"], "format": "uint8" },
        }, "required": ["id", "status"], "additionalProperties": false,
        "$defs": { "Status": {
            "oneOf": [{ "const": "online", "description": "d" }, { "enum": ["offline", "gone"] }],
        }}})
    }

    #[test]
    fn names_every_member_that_is_wrong() {
        let value = json!({ "id": "", "tags": ["a", 1, "b"], "at": 256, "statsu": "lost" });
        assert_eq!(
            faults(device(), value),
            [
                ".id: must have at least 1 character",
                ".status: is required",
                ".at: must be 0 to 255",
                ".tags: must have at most 2 items",
                ".tags[1]: must be text",
                ".statsu: is no member",
            ]
        );
        let status = [r#".status: must be "online" or "offline" or "gone""#];
        assert_eq!(faults(device(), json!({ "id": "a", "status": "lost" })), status);
        let at = [".at: must be an integer or null"];
        assert_eq!(faults(device(), json!({ "id": "a", "status": "gone", "at": "x" })), at);
        assert_eq!(faults(device(), json!({ "id": "a", "status": "gone", "at": null })), [""; 0]);
        assert_eq!(faults(device(), json!([])), [": must be an object"]);
    }

    #[test]
    fn explains_the_alternative_that_is_meant() {
        let tagged = |tag: &str, member: &str| {
            json!({ "type": "object", "required": ["type", member], "properties": {
                "type": { "const": tag }, member: { "type": "integer" },
            }})
        };
        let schema = json!({ "oneOf": [tagged("added", "at"), tagged("moved", "to"), { "type": "null" }] });
        let moved = json!({ "type": "moved", "to": 1.5 });
        assert_eq!(faults(schema.clone(), moved), [".to: must be an integer"]);
        assert_eq!(faults(schema.clone(), json!({ "type": "lost" })), [": must be an object or null"]);
        assert_eq!(faults(schema, json!(7)), [": must be an object or null"]);
    }

    #[test]
    fn finds_no_fault_in_what_it_does_not_know() {
        for schema in [
            json!({ "type": "string", "pattern": "(" }),
            json!({ "not": true }),
            json!({ "$ref": "#" }),
            json!({ "type": "array", "uniqueItems": true }),
        ] {
            for value in [json!("a"), json!(null), json!([1, 1])] {
                let found = faults(schema.clone(), value);
                assert!(found.iter().all(|fault| fault.contains("must be")), "{schema}: {found:?}");
            }
        }
        assert_eq!(faults(json!({ "$ref": "#" }), json!(1)), [""; 0]);
    }

    #[test]
    fn ends_for_schemas_that_lead_to_a_definition_along_many_paths() {
        let link = |number: u32| {
            let next = json!({ "$ref": format!("#/$defs/{}", number + 1) });
            let items = json!({ "type": "array", "items": next });
            (number.to_string(), json!({ "anyOf": [next, next, items] }))
        };
        let mut definitions: Map<_, _> = (0..60).map(link).collect();
        definitions.insert("60".to_owned(), json!({ "type": "string" }));
        let schema = json!({ "$ref": "#/$defs/0", "$defs": definitions });

        for value in [json!(1), json!([[[1]]]), json!("a")] {
            let _ = faults(schema.clone(), value);
        }
    }

    #[test]
    fn lists_no_more_than_it_is_asked_for() {
        let schema = Schema::from_value(json!({ "type": "array", "items": { "type": "null" } })).unwrap();
        assert_eq!(schema.faults(&json!([1, 2, 3]), 2).len(), 2);
    }
}
