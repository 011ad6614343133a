//! Types in the words of a reader: `integer (0..255)`, `array of Device`, `"on" | "off"`.

use std::fmt::Display;

use jackfield_contract::{ArrayShape, IntegerShape, Node, Schema, Shape, TextShape};

use crate::cli::shown_text::{json_line, shown_line};

/// The most values of an enumeration that [`brief_type`] shows.
const MAX_BRIEF_VALUES: usize = 4;

/// Returns the type of a node with its bounds. A definition that is no object is shown with its
/// name and what it is.
pub(super) fn type_text(schema: &Schema, node: &Node) -> String {
    let writer = Writer { schema, is_brief: false };
    let text = writer.text(node);
    match (&node.shape, &schema.resolve(node).shape) {
        (Shape::Reference(_), Shape::Array(_)) => format!("{text} = {}", writer.text(schema.resolve(node))),
        (Shape::Reference(_), Shape::Union(members))
            if members.iter().all(|member| is_scalar(&member.shape)) =>
        {
            format!("{text} = {}", writer.text(schema.resolve(node)))
        }
        _ => text,
    }
}

/// Returns the type of a node without bounds, for a signature.
pub(super) fn brief_type(schema: &Schema, node: &Node) -> String {
    Writer { schema, is_brief: true }.text(node)
}

struct Writer<'a> {
    schema: &'a Schema,
    is_brief: bool,
}

impl Writer<'_> {
    fn text(&self, node: &Node) -> String {
        match &node.shape {
            Shape::Any | Shape::Opaque => "any".to_owned(),
            Shape::Never => "nothing".to_owned(),
            Shape::Null => "null".to_owned(),
            Shape::Boolean => "boolean".to_owned(),
            Shape::Bytes => "bytes".to_owned(),
            Shape::Integer(shape) => self.bounded("integer", [integer_range(shape)]),
            Shape::Number(shape) => self.bounded("number", [range(shape.minimum, shape.maximum, "")]),
            Shape::Text(shape) => self.bounded("string", text_bounds(shape)),
            Shape::Array(shape) => self.array(shape),
            Shape::Object(shape) => match &shape.additional.shape {
                Shape::Never | Shape::Any => "object".to_owned(),
                _ if !shape.properties.is_empty() => "object".to_owned(),
                _ => format!("object of {}", self.grouped(&shape.additional)),
            },
            Shape::Literals(values) if self.is_brief && has_many_values(&node.shape) => {
                let is_text = values.iter().all(|literal| literal.value.is_string());
                if is_text { "string".to_owned() } else { "any".to_owned() }
            }
            Shape::Literals(values) => {
                values.iter().map(|literal| json_line(&literal.value)).collect::<Vec<_>>().join(" | ")
            }
            Shape::Union(members) => {
                let mut names: Vec<_> = members.iter().map(|member| self.text(member)).collect();
                names.dedup();
                names.join(" | ")
            }
            Shape::Reference(name) if name.is_empty() => {
                shown_line(self.schema.root.title.as_deref().unwrap_or("the whole value"))
            }
            Shape::Reference(name) => self.definition(name),
        }
    }

    /// Returns the name of a definition; for a scalar, what it is, which says more.
    fn definition(&self, name: &str) -> String {
        match self.schema.definitions.get(name) {
            Some(node) if is_scalar(&node.shape) && !(self.is_brief && has_many_values(&node.shape)) => {
                self.text(node)
            }
            _ => shown_line(name),
        }
    }

    fn array(&self, shape: &ArrayShape) -> String {
        if !shape.prefix.is_empty() {
            let mut items: Vec<_> = shape.prefix.iter().map(|item| self.text(item)).collect();
            if shape.items.shape != Shape::Never && shape.max_items != Some(shape.prefix.len() as u64) {
                items.push("...".to_owned());
            }
            return format!("[{}]", items.join(", "));
        }
        let item = match &shape.items.shape {
            Shape::Any => return self.bounded("array", array_bounds(shape)),
            _ => self.grouped(&shape.items),
        };
        match self.is_brief {
            true => format!("{item}[]"),
            false => self.bounded(&format!("array of {item}"), array_bounds(shape)),
        }
    }

    /// Returns the type in parentheses if it would run into what follows.
    fn grouped(&self, node: &Node) -> String {
        let text = self.text(node);
        match text.contains(" | ") {
            true => format!("({text})"),
            false => text,
        }
    }

    fn bounded(&self, name: &str, bounds: impl IntoIterator<Item = Option<String>>) -> String {
        let bounds: Vec<_> = bounds.into_iter().flatten().collect();
        if self.is_brief || bounds.is_empty() {
            return name.to_owned();
        }
        format!("{name} ({})", bounds.join(", "))
    }
}

fn is_scalar(shape: &Shape) -> bool {
    !matches!(shape, Shape::Array(_) | Shape::Object(_) | Shape::Union(_) | Shape::Reference(_))
}

fn has_many_values(shape: &Shape) -> bool {
    matches!(shape, Shape::Literals(values) if values.len() > MAX_BRIEF_VALUES)
}

fn text_bounds(shape: &TextShape) -> [Option<String>; 3] {
    let format = shape.format.as_deref().map(shown_line);
    let pattern = shape.pattern.as_deref().map(|pattern| format!("pattern {}", shown_line(pattern)));
    [format, range(shape.min_length, shape.max_length, " characters"), pattern]
}

/// Returns the range of an integer. That of 64 bits and more is left out if only the format says
/// so: people need not read twenty digits.
fn integer_range(shape: &IntegerShape) -> Option<String> {
    let (least, greatest) = shape.bounds();
    let is_small = |bound: &i128| bound.unsigned_abs() <= u128::from(u32::MAX);
    let least = least.filter(|least| is_small(least) || shape.minimum.is_some());
    let greatest = greatest.filter(|greatest| is_small(greatest) || shape.maximum.is_some());
    range(least, greatest, "")
}

fn array_bounds(shape: &ArrayShape) -> [Option<String>; 2] {
    let unique = shape.unique.then(|| "no item twice".to_owned());
    [range(shape.min_items, shape.max_items, " items"), unique]
}

fn range<T: Display + PartialEq>(least: Option<T>, greatest: Option<T>, unit: &str) -> Option<String> {
    match (least, greatest) {
        (None, None) => None,
        (Some(least), None) => Some(format!("{least} or more{unit}")),
        (None, Some(greatest)) => Some(format!("at most {greatest}{unit}")),
        (Some(least), Some(greatest)) if least == greatest => Some(format!("{least}{unit}")),
        (Some(least), Some(greatest)) => Some(format!("{least}..{greatest}{unit}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn assert_types(schema: Value, full: &str, brief: &str) {
        let schema = Schema::from_value(schema).unwrap();
        let types = [type_text(&schema, &schema.root), brief_type(&schema, &schema.root)];
        assert_eq!(types, [full, brief]);
    }

    #[test]
    fn shows_bounds_in_full_types_only() {
        assert_types(
            json!({ "type": "integer", "minimum": 0, "maximum": 255 }),
            "integer (0..255)",
            "integer",
        );
        assert_types(json!({ "type": "integer", "minimum": 0 }), "integer (0 or more)", "integer");
        assert_types(
            json!({ "type": "string", "maxLength": 9, "pattern": "^a" }),
            "string (at most 9 characters, pattern ^a)",
            "string",
        );
        let items =
            json!({ "type": "array", "items": { "enum": ["a", "b"] }, "minItems": 1, "uniqueItems": true });
        assert_types(items, "array of (\"a\" | \"b\") (1 or more items, no item twice)", "(\"a\" | \"b\")[]");
    }

    #[test]
    fn names_definitions_tuples_maps_and_alternatives() {
        let device = json!({ "$ref": "#/$defs/Device", "$defs": { "Device": { "type": "object" } } });
        assert_types(device, "Device", "Device");
        let pair = json!({ "type": "array", "prefixItems": [{ "type": "string" }, true], "minItems": 2, "maxItems": 2 });
        assert_types(pair, "[string, any]", "[string, any]");
        let map = json!({ "type": "object", "additionalProperties": { "type": ["string", "null"] } });
        assert_types(map, "object of (string | null)", "object of (string | null)");
        let status = json!({ "$ref": "#/$defs/Status", "$defs": { "Status": { "enum": ["a", "b"] } } });
        assert_types(status, r#""a" | "b""#, r#""a" | "b""#);
        let many = json!({ "enum": ["a", "b", "c", "d", "e\u{1b}"] });
        assert_types(many, r#""a" | "b" | "c" | "d" | "e\u001b""#, "string");
    }
}
