//! From a JSON document to a schema: every keyword that is modelled, and the limits for the rest.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::{
    ArrayShape, IntegerShape, Literal, Node, NumberShape, ObjectShape, Property, Shape, TextShape,
};
use crate::schema_fault::SchemaFault;
use crate::schema_keywords;

/// The deepest nesting of schemas in a document. Types that are written by hand stay far below.
const DEPTH_MAX: usize = 64;
/// The most schemas in a document.
const NODES_MAX: usize = 20_000;

/// The format and the media type of opaque bytes.
const BYTES: &str = "application/octet-stream";

/// Keywords that say nothing about which values are admitted.
const REMARKS: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "title",
    "description",
    "deprecated",
    "default",
    "examples",
    "readOnly",
    "writeOnly",
    "format",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
];

/// Reads the root of a document and its definitions.
pub(crate) fn read(document: &Value) -> Result<(Node, BTreeMap<String, Node>), SchemaFault> {
    schema_keywords::check(document)?;
    let definitions = document.get("$defs").and_then(Value::as_object);
    let mut reader = Reader { names: definitions, nodes: 0, path: Vec::new() };
    let root = reader.node(document)?;

    let mut read = BTreeMap::new();
    reader.path.push("$defs".to_owned());
    for (name, definition) in definitions.into_iter().flatten() {
        read.insert(name.clone(), reader.node_at(name, definition)?);
    }
    Ok((root, read))
}

struct Reader<'a> {
    names: Option<&'a Map<String, Value>>,
    nodes: usize,
    path: Vec<String>,
}

impl Reader<'_> {
    fn node_at(&mut self, step: &str, value: &Value) -> Result<Node, SchemaFault> {
        self.path.push(step.replace('~', "~0").replace('/', "~1"));
        let node = self.node(value);
        self.path.pop();
        node
    }

    fn node(&mut self, value: &Value) -> Result<Node, SchemaFault> {
        self.nodes += 1;
        if self.path.len() > DEPTH_MAX * 2 || self.nodes > NODES_MAX {
            return Err(SchemaFault::TooLarge);
        }
        let object = match value {
            Value::Bool(true) => return Ok(Node::of(Shape::Any)),
            Value::Bool(false) => return Ok(Node::of(Shape::Never)),
            Value::Object(object) => object,
            _ => return Err(self.not_a_schema()),
        };

        let text = |keyword: &str| object.get(keyword).and_then(Value::as_str).map(str::to_owned);
        Ok(Node {
            title: text("title"),
            description: text("description"),
            deprecated: object.get("deprecated") == Some(&Value::Bool(true)),
            default: object.get("default").cloned(),
            shape: self.shape(object)?,
        })
    }

    fn shape(&mut self, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        if let Some(reference) = object.get("$ref") {
            let shape = self.reference(reference)?;
            return Ok(only(object, &["$ref"], shape));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(members) = object.get(keyword) {
                let members = self.list(keyword, members)?;
                return Ok(only(object, &[keyword], union_of(members)));
            }
        }
        if let Some(value) = object.get("const") {
            let description = object.get("description").and_then(Value::as_str).map(str::to_owned);
            let literal = Literal { value: value.clone(), description };
            return Ok(only(object, &["const", "type"], Shape::Literals(vec![literal])));
        }
        if let Some(values) = object.get("enum") {
            let values = values.as_array().ok_or_else(|| self.not_a_schema())?;
            let literals = values.iter().map(|value| Literal { value: value.clone(), description: None });
            return Ok(only(object, &["enum", "type"], Shape::Literals(literals.collect())));
        }

        match object.get("type") {
            Some(Value::String(name)) => self.typed(name, object),
            Some(Value::Array(names)) => {
                let mut members = Vec::new();
                for name in names {
                    let name = name.as_str().ok_or_else(|| self.not_a_schema())?;
                    members.push(Node::of(self.typed(name, object)?));
                }
                Ok(union_of(members))
            }
            Some(_) => Err(self.not_a_schema()),
            None if object.get("contentMediaType").and_then(Value::as_str) == Some(BYTES) => Ok(Shape::Bytes),
            None => Ok(only(object, &[], Shape::Any)),
        }
    }

    fn reference(&self, reference: &Value) -> Result<Shape, SchemaFault> {
        let reference = reference.as_str().ok_or_else(|| self.not_a_schema())?;
        if reference == "#" {
            return Ok(Shape::Reference(String::new()));
        }
        let name = reference.strip_prefix("#/$defs/").map(|name| name.replace("~1", "/").replace("~0", "~"));
        match name {
            Some(name) if self.names.is_some_and(|names| names.contains_key(&name)) => {
                Ok(Shape::Reference(name))
            }
            _ => Err(SchemaFault::Reference { path: self.pointer(), reference: reference.to_owned() }),
        }
    }

    /// Reads the keywords of one type. In a schema with several types, those of the other types are
    /// ignored, as JSON Schema does.
    fn typed(&mut self, name: &str, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        let is_other = object.get("type").is_some_and(Value::is_array);
        let (keywords, shape): (&[&str], Shape) = match name {
            "null" => (&[], Shape::Null),
            "boolean" => (&[], Shape::Boolean),
            "integer" => (&["minimum", "maximum"], Shape::Integer(integer(object))),
            "number" => (&["minimum", "maximum"], Shape::Number(number(object))),
            "string" => (&["minLength", "maxLength", "pattern"], Shape::Text(text(object))),
            "array" => (ARRAY, Shape::Array(Box::new(self.array(object)?))),
            "object" => (&["properties", "required", "additionalProperties"], self.object(object)?),
            _ => return Err(self.not_a_schema()),
        };
        if is_other {
            return Ok(only(object, ALL_TYPED, shape));
        }
        Ok(only(object, &[keywords, &["type"]].concat(), shape))
    }

    fn array(&mut self, object: &Map<String, Value>) -> Result<ArrayShape, SchemaFault> {
        let prefix = match object.get("prefixItems") {
            Some(items) => self.list("prefixItems", items)?,
            None => Vec::new(),
        };
        let items = object.get("items").unwrap_or(&Value::Bool(true));
        Ok(ArrayShape {
            prefix,
            items: self.node_at("items", items)?,
            min_items: object.get("minItems").and_then(Value::as_u64),
            max_items: object.get("maxItems").and_then(Value::as_u64),
            unique: object.get("uniqueItems") == Some(&Value::Bool(true)),
        })
    }

    fn object(&mut self, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        let empty = Map::new();
        let members = match object.get("properties") {
            Some(members) => members.as_object().ok_or_else(|| self.not_a_schema())?,
            None => &empty,
        };
        let required = match object.get("required") {
            Some(names) => names.as_array().ok_or_else(|| self.not_a_schema())?.as_slice(),
            None => &[],
        };

        let mut properties = Vec::new();
        self.path.push("properties".to_owned());
        for name in required {
            let name = name.as_str().ok_or_else(|| self.not_a_schema())?;
            let node = self.node_at(name, members.get(name).unwrap_or(&Value::Bool(true)))?;
            properties.push(Property { name: name.to_owned(), is_required: true, node });
        }
        let is_optional = |name: &str| !required.iter().any(|required| required == name);
        for (name, member) in members.iter().filter(|(name, _)| is_optional(name)) {
            let node = self.node_at(name, member)?;
            properties.push(Property { name: name.clone(), is_required: false, node });
        }
        self.path.pop();

        let additional = object.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let additional = self.node_at("additionalProperties", additional)?;
        Ok(Shape::Object(Box::new(ObjectShape { properties, additional })))
    }

    fn list(&mut self, keyword: &str, members: &Value) -> Result<Vec<Node>, SchemaFault> {
        let members = members.as_array().ok_or_else(|| self.not_a_schema())?;
        self.path.push(keyword.to_owned());
        let numbered = members.iter().enumerate();
        let nodes = numbered.map(|(index, member)| self.node_at(&index.to_string(), member)).collect();
        self.path.pop();
        nodes
    }

    fn pointer(&self) -> String {
        self.path.iter().map(|step| format!("/{step}")).collect()
    }

    fn not_a_schema(&self) -> SchemaFault {
        SchemaFault::NotASchema { path: self.pointer() }
    }
}

const ARRAY: &[&str] = &["prefixItems", "items", "minItems", "maxItems", "uniqueItems"];

/// The keywords of all types.
const ALL_TYPED: &[&str] = &[
    "type",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "prefixItems",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "required",
    "additionalProperties",
];

/// Returns `shape` if the object has no other keywords than `known` and remarks.
fn only(object: &Map<String, Value>, known: &[&str], shape: Shape) -> Shape {
    let is_known =
        |keyword: &String| known.contains(&keyword.as_str()) || REMARKS.contains(&keyword.as_str());
    if object.keys().all(|keyword| is_known(keyword) || keyword.starts_with("x-")) {
        shape
    } else {
        Shape::Opaque
    }
}

/// Merges literals, and takes a single member out of its union.
fn union_of(members: Vec<Node>) -> Shape {
    let mut literals = Vec::new();
    let mut others = Vec::new();
    for member in members {
        match member.shape {
            Shape::Literals(values) => literals.extend(values.into_iter().map(|literal| Literal {
                description: literal.description.or_else(|| member.description.clone()),
                ..literal
            })),
            Shape::Union(inner) => others.extend(inner),
            _ => others.push(member),
        }
    }

    match (literals.is_empty(), others.len()) {
        (true, 0) => Shape::Never,
        (true, 1) => others.remove(0).shape,
        (false, 0) => Shape::Literals(literals),
        (is_plain, _) => {
            if !is_plain {
                others.insert(0, Node::of(Shape::Literals(literals)));
            }
            Shape::Union(others)
        }
    }
}

fn integer(object: &Map<String, Value>) -> IntegerShape {
    let bound = |keyword: &str| {
        let number = object.get(keyword)?;
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        whole.or_else(|| number.as_f64().map(|number| number as i128))
    };
    IntegerShape { minimum: bound("minimum"), maximum: bound("maximum"), format: format(object) }
}

fn number(object: &Map<String, Value>) -> NumberShape {
    let bound = |keyword: &str| object.get(keyword).and_then(Value::as_f64);
    NumberShape { minimum: bound("minimum"), maximum: bound("maximum"), format: format(object) }
}

fn text(object: &Map<String, Value>) -> TextShape {
    TextShape {
        min_length: object.get("minLength").and_then(Value::as_u64),
        max_length: object.get("maxLength").and_then(Value::as_u64),
        pattern: object.get("pattern").and_then(Value::as_str).map(str::to_owned),
        format: format(object),
    }
}

fn format(object: &Map<String, Value>) -> Option<String> {
    object.get("format").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Schema;

    fn shape(document: Value) -> Shape {
        Schema::from_value(document).unwrap().root.shape
    }

    #[test]
    fn puts_required_properties_first_in_their_order() {
        let schema = json!({
            "type": "object",
            "properties": { "a": {}, "b": { "type": "string" }, "c": {} },
            "required": ["c", "b"],
        });
        let Shape::Object(object) = shape(schema) else { panic!() };
        let names: Vec<_> = object.properties.iter().map(|property| &*property.name).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[test]
    fn merges_the_variants_of_an_enumeration() {
        let schema = json!({ "oneOf": [
            { "const": "a", "description": "First." }, { "enum": ["b"], "type": "string" },
        ]});
        let Shape::Literals(literals) = shape(schema) else { panic!() };
        assert_eq!(literals.len(), 2);
        assert_eq!(literals[0].description.as_deref(), Some("First."));
    }

    #[test]
    fn models_nothing_that_it_does_not_understand() {
        assert_eq!(shape(json!({ "type": "string", "not": { "const": "a" } })), Shape::Opaque);
        assert_eq!(shape(json!({ "allOf": [true] })), Shape::Opaque);
        assert_eq!(shape(json!({ "format": "x", "x-own": 1 })), Shape::Any);
    }

    #[test]
    fn rejects_references_out_of_the_document() {
        for reference in ["http://localhost/", "#/$defs/missing", "#/properties/a"] {
            let fault = Schema::from_value(json!({ "$ref": reference })).unwrap_err();
            assert!(matches!(fault, SchemaFault::Reference { .. }), "{fault}");
        }
        assert!(Schema::from_value(json!({ "$ref": "#" })).is_ok());
    }

    #[test]
    fn rejects_schemas_that_are_too_deep_or_too_large() {
        let mut deep = json!(true);
        for _ in 0..=DEPTH_MAX * 2 {
            deep = json!({ "type": "array", "items": deep });
        }
        assert!(matches!(Schema::from_value(deep), Err(SchemaFault::TooLarge)));

        let wide = json!({ "anyOf": vec![true; NODES_MAX] });
        assert!(matches!(Schema::from_value(wide), Err(SchemaFault::TooLarge)));
    }
}
