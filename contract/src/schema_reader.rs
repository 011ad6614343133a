//! From a JSON document to a schema: the walk over its keywords, and the limits.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use crate::conjunction::{Conflict, Conjunction, weight};
use crate::modelled_keywords::{self as keywords, BYTES, TYPED};
use crate::plain_text;
use crate::schema::{ArrayShape, Literal, Node, ObjectShape, Property, Schema, Shape};
use crate::schema_fault::SchemaFault;
use crate::schema_keywords::{self, NODES_MAX};

/// The deepest nesting of schemas in a document. Types that are written by hand stay far below.
const DEPTH_MAX: usize = 64;

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
    let mut reader = Reader { document, definitions, nodes: 0, path: Vec::new(), inlined: Vec::new() };
    let root = reader.node(document)?;

    let mut read = BTreeMap::new();
    reader.path.push("$defs".to_owned());
    for (name, definition) in definitions.into_iter().flatten() {
        read.insert(name.clone(), reader.node_at(name, definition)?);
    }
    Ok((root, read))
}

struct Reader<'a> {
    document: &'a Value,
    definitions: Option<&'a Map<String, Value>>,
    nodes: usize,
    path: Vec<String>,
    /// The definitions that are being read in place of references to them.
    inlined: Vec<String>,
}

impl<'a> Reader<'a> {
    fn node_at(&mut self, step: &str, value: &Value) -> Result<Node, SchemaFault> {
        self.path.push(schema_keywords::escape(step));
        let node = self.node(value);
        self.path.pop();
        node
    }

    fn node(&mut self, value: &Value) -> Result<Node, SchemaFault> {
        self.count(1)?;
        let object = match value {
            Value::Bool(true) => return Ok(Node::of(Shape::Any)),
            Value::Bool(false) => return Ok(Node::of(Shape::Never)),
            Value::Object(object) => object,
            _ => return Err(self.not_a_schema()),
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
            demands.push(self.reference(reference)?);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(members) = object.get(keyword) {
                demands.push(union_of(self.list(keyword, members)?));
            }
        }
        if let Some(members) = object.get("allOf") {
            demands.extend(self.list("allOf", members)?.into_iter().map(|node| node.shape));
        }
        let further = match object.get("unevaluatedProperties") {
            Some(node) if !object.contains_key("additionalProperties") => {
                Some(self.node_at("unevaluatedProperties", node)?)
            }
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
            (None, Some(values)) => Some(values.as_array().ok_or_else(|| self.not_a_schema())?.as_slice()),
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
                for name in names {
                    let name = name.as_str().ok_or_else(|| self.not_a_schema())?;
                    self.count(1)?;
                    members.push(Node::of(self.typed(name, object)?));
                }
                // An opaque member would lack what it is.
                let is_opaque = members.iter().any(|member| member.shape == Shape::Opaque);
                Ok(if is_opaque { Shape::Opaque } else { union_of(members) })
            }
            Some(_) => Err(self.not_a_schema()),
            None if has_bounds() => Ok(Shape::Opaque),
            None if object.get("contentMediaType").and_then(Value::as_str) == Some(BYTES) => Ok(Shape::Bytes),
            None => Ok(Shape::Any),
        }
    }

    fn reference(&self, reference: &Value) -> Result<Shape, SchemaFault> {
        let reference = reference.as_str().ok_or_else(|| self.not_a_schema())?;
        if reference == "#" {
            return Ok(Shape::Reference(String::new()));
        }
        let name = schema_keywords::definition_name(reference);
        match name {
            // The empty name stands for the root.
            Some(name) if !name.is_empty() && self.definition(&name).is_some() => Ok(Shape::Reference(name)),
            _ => Err(SchemaFault::Reference { path: self.pointer(), reference: plain_text::line(reference) }),
        }
    }

    fn definition(&self, name: &str) -> Option<&'a Value> {
        self.definitions.and_then(|definitions| definitions.get(name))
    }

    /// Reads the keywords of one type. Those of other types say nothing about its values.
    fn typed(&mut self, name: &str, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        let shape = match name {
            "null" => Some(Shape::Null),
            "boolean" => Some(Shape::Boolean),
            "integer" => keywords::integer(object).map(Shape::Integer),
            "number" => keywords::number(object).map(Shape::Number),
            "string" => keywords::text(object).map(Shape::Text),
            "array" => self.array(object)?,
            "object" => Some(self.object(object)?),
            _ => None,
        };
        shape.ok_or_else(|| self.not_a_schema())
    }

    fn array(&mut self, object: &Map<String, Value>) -> Result<Option<Shape>, SchemaFault> {
        let prefix = match object.get("prefixItems") {
            Some(items) => self.list("prefixItems", items)?,
            None => Vec::new(),
        };
        let items = self.node_at("items", object.get("items").unwrap_or(&Value::Bool(true)))?;
        let Some((min_items, max_items)) = keywords::lengths(object, "minItems", "maxItems") else {
            return Ok(None);
        };
        let unique = object.get("uniqueItems") == Some(&Value::Bool(true));
        Ok(Some(Shape::Array(Box::new(ArrayShape { prefix, items, min_items, max_items, unique }))))
    }

    fn object(&mut self, object: &Map<String, Value>) -> Result<Shape, SchemaFault> {
        if let Some(patterns) = object.get("patternProperties") {
            return self.map_of_pattern(object, patterns);
        }
        let empty = Map::new();
        let members = match object.get("properties") {
            Some(members) => members.as_object().ok_or_else(|| self.not_a_schema())?,
            None => &empty,
        };
        let names = match object.get("required") {
            Some(names) => names.as_array().ok_or_else(|| self.not_a_schema())?.as_slice(),
            None => &[],
        };

        let mut properties = Vec::new();
        let mut required = HashSet::new();
        self.path.push("properties".to_owned());
        for name in names {
            let name = name.as_str().ok_or_else(|| self.not_a_schema())?;
            if required.insert(name) {
                let node = self.node_at(name, members.get(name).unwrap_or(&Value::Bool(true)))?;
                properties.push(Property { name: name.to_owned(), is_required: true, node });
            }
        }
        for (name, member) in members.iter().filter(|(name, _)| !required.contains(name.as_str())) {
            let node = self.node_at(name, member)?;
            properties.push(Property { name: name.clone(), is_required: false, node });
        }
        self.path.pop();
        let written = object.get("additionalProperties");
        let additional = self.node_at("additionalProperties", written.unwrap_or(&Value::Bool(true)))?;
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
        let patterns = patterns.as_object().ok_or_else(|| self.not_a_schema())?;
        let is_alone = !["properties", "required"].iter().any(|keyword| object.contains_key(*keyword))
            && object.get("additionalProperties") == Some(&Value::Bool(false))
            && patterns.len() == 1;
        let Some((pattern, node)) = patterns.iter().next().filter(|_| is_alone) else {
            return Ok(Shape::Opaque);
        };

        self.path.push("patternProperties".to_owned());
        let additional = self.node_at(pattern, node)?;
        self.path.pop();
        let names = Some(pattern.clone());
        Ok(Shape::Object(Box::new(ObjectShape { properties: Vec::new(), additional, names, is_map: true })))
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
        plain_text::line(&self.path.iter().map(|step| format!("/{step}")).collect::<String>())
    }

    fn not_a_schema(&self) -> SchemaFault {
        SchemaFault::NotASchema { path: self.pointer() }
    }
}

impl Conjunction for Reader<'_> {
    fn count(&mut self, nodes: usize) -> Result<(), SchemaFault> {
        self.nodes += nodes;
        if self.path.len() > DEPTH_MAX * 2 || self.nodes > NODES_MAX {
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
        self.path.extend(["$ref".to_owned(), String::new()]);
        let joined = self.node(value).map_err(Conflict::Fault).and_then(|node| join(self, node.shape));
        self.path.truncate(self.path.len() - 2);
        self.inlined.pop();
        joined
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
