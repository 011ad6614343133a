//! A value that fits a schema, for an example call.

use jackfield_contract::{
    ArrayShape, IntegerShape, Node, NumberShape, ObjectShape, Schema, Shape, TextShape,
};
use serde_json::{Map, Number, Value};

/// Upper bound for the nesting of an example, through references, too.
const MAX_DEPTH: usize = 12;

/// Upper bound for the values in an example. A schema of a few definitions that use each other
/// twice can require any number of them.
const MAX_VALUES: usize = 500;

/// Upper bound for the items and characters that are made because a schema requires them.
const MAX_REPEATED: u64 = 1000;

/// Returns a value that fits the schema as far as this can be seen from its shape: a pattern of a
/// required member is ignored. An object has its required members; with `all_members`, the
/// outermost one has the others, too, except those that are deprecated or have a pattern.
pub(super) fn example_value(schema: &Schema, all_members: bool) -> Value {
    let mut generator = Generator { schema, values: 0, all_members };
    generator.value(&schema.root, 0)
}

struct Generator<'a> {
    schema: &'a Schema,
    values: usize,
    all_members: bool,
}

impl Generator<'_> {
    fn value(&mut self, node: &Node, depth: usize) -> Value {
        self.values += 1;
        if let Some(default) = node.default.as_ref().filter(|default| !default.is_null()) {
            return default.clone();
        }
        let node = self.schema.resolve(node);
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Value::Null;
        }

        match &node.shape {
            Shape::Any | Shape::Never | Shape::Null | Shape::Opaque | Shape::Bytes | Shape::Reference(_) => {
                Value::Null
            }
            Shape::Boolean => Value::Bool(true),
            Shape::Integer(shape) => integer(shape),
            Shape::Number(shape) => number(shape),
            Shape::Text(shape) => Value::String(text(shape)),
            Shape::Array(shape) => self.array(shape, depth),
            Shape::Object(shape) => self.object(shape, depth),
            Shape::Literals(literals) => {
                literals.first().map(|first| first.value.clone()).unwrap_or_default()
            }
            Shape::Union(members) => self.union(members, depth),
        }
    }

    /// Returns whether the example has an optional member of this type.
    fn is_shown(&self, node: &Node) -> bool {
        !node.deprecated && !has_pattern(self.schema.resolve(node))
    }

    /// Returns a value of the first member that is not `null`.
    fn union(&mut self, members: &[Node], depth: usize) -> Value {
        let member = members.iter().find(|member| self.schema.resolve(member).shape != Shape::Null);
        member.map(|member| self.value(member, depth + 1)).unwrap_or_default()
    }

    fn array(&mut self, shape: &ArrayShape, depth: usize) -> Value {
        let mut items: Vec<_> = shape.prefix.iter().map(|item| self.value(item, depth + 1)).collect();
        let least = if shape.prefix.is_empty() { 1 } else { 0 };
        let wanted = shape.min_items.unwrap_or(least).min(MAX_REPEATED);
        let wanted = wanted.min(shape.max_items.unwrap_or(wanted));

        // Beyond the limit every value is null, which helps nobody.
        while (items.len() as u64) < wanted && self.values < MAX_VALUES {
            items.push(self.value(&shape.items, depth + 1));
        }
        Value::Array(items)
    }

    fn object(&mut self, shape: &ObjectShape, depth: usize) -> Value {
        let all_members = self.all_members && depth == 0;
        let mut members = Map::new();
        for property in &shape.properties {
            if property.is_required || all_members && self.is_shown(&property.node) {
                members.insert(property.name.clone(), self.value(&property.node, depth + 1));
            }
        }
        Value::Object(members)
    }
}

fn has_pattern(node: &Node) -> bool {
    matches!(&node.shape, Shape::Text(text) if text.pattern.is_some())
}

fn integer(shape: &IntegerShape) -> Value {
    let least = shape.minimum.unwrap_or(i128::MIN);
    let greatest = shape.maximum.unwrap_or(i128::MAX);
    let wanted = 1.min(greatest).max(least);
    Number::from_i128(wanted).map(Value::Number).unwrap_or_default()
}

fn number(shape: &NumberShape) -> Value {
    let wanted = 1.0_f64.min(shape.maximum.unwrap_or(1.0)).max(shape.minimum.unwrap_or(f64::MIN));
    Number::from_f64(wanted).map(Value::Number).unwrap_or_default()
}

fn text(shape: &TextShape) -> String {
    let known = match shape.format.as_deref() {
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("date") => "2026-01-31",
        Some("time") => "12:00:00Z",
        Some("uuid") => "123e4567-e89b-12d3-a456-426614174000",
        Some("ipv4" | "ip") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("uri") => "https://example.com/",
        Some("email") => "user@example.com",
        _ => "text",
    };
    let length = known.len() as u64;
    let wanted = length.max(shape.min_length.unwrap_or(0).min(MAX_REPEATED));
    let wanted = wanted.min(shape.max_length.unwrap_or(wanted));

    let characters = known.chars().chain(std::iter::repeat('x'));
    characters.take(usize::try_from(wanted).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn example(schema: Value) -> Value {
        let value = example_value(&Schema::from_value(schema.clone()).unwrap(), true);
        assert!(jsonschema::is_valid(&schema, &value), "{value} does not fit {schema}");
        value
    }

    #[test]
    fn fits_bounds_formats_and_enumerations() {
        assert_eq!(example(json!({ "type": "integer", "minimum": 10 })), 10);
        assert_eq!(example(json!({ "type": "integer", "maximum": -3 })), -3);
        assert_eq!(example(json!({ "type": "number", "maximum": 0.5 })), 0.5);
        assert_eq!(example(json!({ "type": "string", "minLength": 6 })), "textxx");
        assert_eq!(example(json!({ "type": "string", "maxLength": 2 })), "te");
        assert_eq!(example(json!({ "enum": ["online", "offline"] })), "online");
        assert_eq!(example(json!({ "type": ["string", "null"] })), "text");
        assert_eq!(
            example(json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 2 })).to_string(),
            "[true,true]"
        );
        assert_eq!(
            example(json!({ "type": "array", "prefixItems": [{ "const": 7 }], "minItems": 1 })).to_string(),
            "[7]"
        );
    }

    #[test]
    fn shows_all_members_outside_and_the_required_ones_inside() {
        let member = json!({ "type": "object", "properties": { "a": true, "b": true }, "required": ["a"] });
        let schema = json!({ "type": "object", "properties": {
            "x": member, "y": { "type": "integer", "default": 5 }, "z": { "deprecated": true },
        }});

        assert_eq!(example(schema.clone()), json!({ "x": { "a": null }, "y": 5 }));
        assert_eq!(example_value(&Schema::from_value(schema).unwrap(), false), json!({}));
    }

    #[test]
    fn ends_for_definitions_that_require_each_other_without_end() {
        let twice = |name: &str| {
            let reference = json!({ "$ref": format!("#/$defs/{name}") });
            json!({ "type": "object", "properties": { "l": reference, "r": reference }, "required": ["l", "r"] })
        };
        let schema = json!({ "$ref": "#/$defs/a", "$defs": { "a": twice("b"), "b": twice("a") } });
        let huge = json!({ "type": "string", "minLength": u64::MAX });

        for schema in [schema, huge, json!({ "$ref": "#" })] {
            let value = example_value(&Schema::from_value(schema).unwrap(), true);
            assert!(value.to_string().len() < 50_000);
        }
    }
}
