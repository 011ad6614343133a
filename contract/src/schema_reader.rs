//! From a JSON document to a schema: the walk over its keywords, and the limits.
//!
//! Every keyword has a valid value and every reference leads to a definition, because the document
//! was checked before ([`schema_keywords::check`]).

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use crate::conjunction::{Conflict, Conjunction, weight};
use crate::modelled_keywords::{self as keywords, BYTES, TYPED};
use crate::plain_text;
use crate::schema::{ArrayShape, Literal, Node, ObjectShape, Property, Schema, Shape};
use crate::schema_fault::SchemaFault;
use crate::schema_keywords::{self, NODES_MAX};

/// The deepest nesting of schemas in a document, in steps of a JSON pointer: two for most schemas.
/// Types that are written by hand stay far below.
const DEPTH_MAX: usize = 128;

impl Schema {
    /// Reads a schema that a plugin wrote.
    ///
    /// # Errors
    ///
    /// It is no JSON Schema, is nested too deep, is too large, or refers to something that does not
    /// exist or is not in the document.
    pub fn parse(document: &[u8]) -> Result<Self, SchemaFault> {
        Self::from_value(serde_json::from_slice(document).map_err(SchemaFault::NotJson)?)
    }

    /// As [`Schema::parse`], for a document that is parsed already.
    ///
    /// # Errors
    ///
    /// As [`Schema::parse`].
    pub fn from_value(document: Value) -> Result<Self, SchemaFault> {
        let (root, definitions) = read(&document)?;
        Ok(Self { document, root, definitions })
    }
}

/// Reads the root of a document and its definitions.
fn read(document: &Value) -> Result<(Node, BTreeMap<String, Node>), SchemaFault> {
    schema_keywords::check(document)?;
    let definitions = document.get("$defs").and_then(Value::as_object);
    let mut reader = Reader { document, definitions, nodes: 0, depth: 0, inlined: Vec::new() };
    let root = reader.node(document)?;

    let mut read = BTreeMap::new();
    for (name, definition) in definitions.into_iter().flatten() {
        read.insert(name.clone(), reader.node_within(2, definition)?);
    }
    Ok((root, read))
}

struct Reader<'a> {
    document: &'a Value,
    definitions: Option<&'a Map<String, Value>>,
    nodes: usize,

    /// How deep the schema is that is being read.
    depth: usize,

    /// The definitions that are being read in place of references to them.
    inlined: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads a schema inside of the current one, so many steps deeper.
    fn node_within(&mut self, steps: usize, value: &Value) -> Result<Node, SchemaFault> {
        self.depth += steps;
        let node = self.node(value);
        self.depth -= steps;
        node
    }

    fn node(&mut self, value: &Value) -> Result<Node, SchemaFault> {
        self.count(1)?;
        let Value::Object(object) = value else {
            let admits_all = *value == Value::Bool(true);
            return Ok(Node::of(if admits_all { Shape::Any } else { Shape::Never }));
        };

        let text = |keyword: &str| object.get(keyword).and_then(Value::as_str);
        let shape = self.shape(object)?;
        Ok(Node {
            title: text("title").map(plain_text::line),
            description: text("description").map(plain_text::lines),
            deprecated: object.get("deprecated") == Some(&Value::Bool(true)),
            default: object.get("default").cloned(),
            unmodelled: (shape == Shape::Opaque).then(|| keywords::without_remarks(value)),
            shape,
        })
    }

    /// Reads everything that the schema demands of a value, and makes one shape of it.
    fn shape(&mut self, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        if !object.keys().all(|keyword| keywords::is_known(keyword)) {
            return Ok(Shape::Opaque);
        }

        let mut demands = vec![self.own_shape(object)?];
        if let Some(reference) = object.get("$ref") {
            demands.push(reference_shape(reference));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(members) = object.get(keyword) {
                demands.push(union_of(self.list(members)?));
            }
        }
        if let Some(members) = object.get("allOf") {
            demands.extend(self.list(members)?.into_iter().map(|node| node.shape));
        }
        let further = match object.get("unevaluatedProperties") {
            Some(node) if !object.contains_key("additionalProperties") => Some(self.node_within(1, node)?),
            _ => None,
        };

        let joined = demands.into_iter().try_fold(Shape::Any, |shape, demand| self.both(shape, demand));
        let closed = match (joined, further) {
            (Ok(shape), Some(further)) if further.shape != Shape::Any => self.close(shape, &further),
            (joined, _) => joined,
        };
        match closed {
            Ok(shape) => Ok(shape),
            Err(Conflict::NotModelled) => Ok(Shape::Opaque),
            Err(Conflict::Fault(fault)) => Err(fault),
        }
    }

    /// Reads `type`, `const`, `enum` and the keywords of each type.
    fn own_shape(&mut self, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        let has_bounds = || TYPED.iter().any(|keyword| object.contains_key(*keyword));
        let values = match (object.get("const"), object.get("enum")) {
            (Some(value), None) => Some(std::slice::from_ref(value)),
            (None, Some(values)) => Some(items_of(values)),
            (None, None) => None,
            (Some(_), Some(_)) => return Ok(Shape::Opaque),
        };
        if let Some(values) = values {
            if has_bounds() {
                return Ok(Shape::Opaque);
            }
            let text = object.get("description").and_then(Value::as_str).map(plain_text::lines);
            let description = text.filter(|_| object.contains_key("const"));
            let admitted = values.iter().filter(|value| keywords::has_type(value, object.get("type")));
            let literals =
                admitted.map(|value| Literal { value: value.clone(), description: description.clone() });
            return Ok(Shape::Literals(literals.collect()));
        }

        match object.get("type") {
            Some(Value::String(name)) => self.typed(name, object),
            Some(Value::Array(names)) => {
                let mut members = Vec::new();
                for name in names.iter().filter_map(Value::as_str) {
                    self.count(1)?;
                    members.push(Node::of(self.typed(name, object)?));
                }
                // An opaque member would lack what it is.
                let is_opaque = members.iter().any(|member| member.shape == Shape::Opaque);
                Ok(if is_opaque { Shape::Opaque } else { union_of(members) })
            }
            _ if has_bounds() => Ok(Shape::Opaque),
            _ if object.get("contentMediaType").and_then(Value::as_str) == Some(BYTES) => Ok(Shape::Bytes),
            _ => Ok(Shape::Any),
        }
    }

    fn definition(&self, name: &str) -> Option<&'a Value> {
        self.definitions.and_then(|definitions| definitions.get(name))
    }

    /// Reads the keywords of one type. Those of other types say nothing about its values.
    fn typed(&mut self, name: &str, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        Ok(match name {
            "null" => Shape::Null,
            "boolean" => Shape::Boolean,
            "integer" => Shape::Integer(keywords::integer(object)),
            "number" => Shape::Number(keywords::number(object)),
            "string" => Shape::Text(keywords::text(object)),
            "array" => self.array(object)?,
            _ => self.object(object)?,
        })
    }

    fn array(&mut self, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        let prefix = match object.get("prefixItems") {
            Some(items) => self.list(items)?,
            None => Vec::new(),
        };
        let items = self.node_within(1, object.get("items").unwrap_or(&Value::Bool(true)))?;
        let (min_items, max_items) = keywords::lengths(object, "minItems", "maxItems");
        let unique = object.get("uniqueItems") == Some(&Value::Bool(true));
        Ok(Shape::Array(Box::new(ArrayShape { prefix, items, min_items, max_items, unique })))
    }

    fn object(&mut self, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        if let Some(patterns) = object.get("patternProperties") {
            return self.map_of_pattern(object, patterns);
        }
        let empty = Map::new();
        let members = object.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let names = object.get("required").map_or(&[][..], items_of);
        let required: HashSet<_> = names.iter().filter_map(Value::as_str).collect();

        let mut properties = Vec::new();
        for name in names.iter().filter_map(Value::as_str) {
            let node = self.node_within(2, members.get(name).unwrap_or(&Value::Bool(true)))?;
            properties.push(Property { name: name.to_owned(), is_required: true, node });
        }
        for (name, member) in members.iter().filter(|(name, _)| !required.contains(name.as_str())) {
            let node = self.node_within(2, member)?;
            properties.push(Property { name: name.clone(), is_required: false, node });
        }

        let written = object.get("additionalProperties");
        let additional = self.node_within(1, written.unwrap_or(&Value::Bool(true)))?;
        let object = ObjectShape { properties, additional, names: None, is_map: written.is_some() };
        Ok(Shape::Object(Box::new(object)))
    }

    /// Reads what schemars writes for a map whose keys are no strings: one pattern, and nothing
    /// else. Any other use of patterns is not modelled.
    fn map_of_pattern(
        &mut self,
        object: &Map<String, Value>,
        patterns: &Value,
    ) -> Result<Shape, SchemaFault> {
        let is_alone = !["properties", "required"].iter().any(|keyword| object.contains_key(*keyword))
            && object.get("additionalProperties") == Some(&Value::Bool(false));
        let mut patterns = patterns.as_object().into_iter().flatten();
        let (Some((pattern, node)), None, true) = (patterns.next(), patterns.next(), is_alone) else {
            return Ok(Shape::Opaque);
        };

        let additional = self.node_within(2, node)?;
        let names = Some(pattern.clone());
        Ok(Shape::Object(Box::new(ObjectShape { properties: Vec::new(), additional, names, is_map: true })))
    }

    fn list(&mut self, members: &Value) -> Result<Vec<Node>, SchemaFault> {
        items_of(members).iter().map(|member| self.node_within(2, member)).collect()
    }
}

impl Conjunction for Reader<'_> {
    fn count(&mut self, nodes: usize) -> Result<(), SchemaFault> {
        self.nodes += nodes;
        if self.depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(SchemaFault::TooLarge);
        }
        Ok(())
    }

    fn inline(
        &mut self,
        name: &str,
        join: impl FnOnce(&mut Self, Shape) -> Result<Shape, Conflict>,
    ) -> Result<Shape, Conflict> {
        if self.inlined.iter().any(|inlined| inlined == name) {
            return Err(Conflict::NotModelled);
        }
        let value = if name.is_empty() { Some(self.document) } else { self.definition(name) };
        let value = value.ok_or(Conflict::NotModelled)?;
        self.count(weight(value))?;

        self.inlined.push(name.to_owned());
        self.depth += 2;
        let joined = self.node(value).map_err(Conflict::Fault).and_then(|node| join(self, node.shape));
        self.depth -= 2;
        self.inlined.pop();
        joined
    }
}

/// Returns the shape of a reference. The empty name stands for the root.
fn reference_shape(reference: &Value) -> Shape {
    let name = reference.as_str().and_then(schema_keywords::definition_name);
    Shape::Reference(name.unwrap_or_default())
}

fn items_of(array: &Value) -> &[Value] {
    array.as_array().map_or(&[], Vec::as_slice)
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
            Shape::Never => {}
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

#[cfg(test)]
mod tests;
