//! From the schemas of a class to types of PHP, with the enumerations and the type aliases that
//! they need.

use std::collections::BTreeMap;

use jackfield_contract::{ArrayShape, IntegerShape, Literal, Node, ObjectShape, Schema, Shape};

use super::names::{NameSet, is_identifier, pascal};
use super::php_type::{DocType, PhpType};
use super::text::quote_in_type;

/// The deepest nesting of definitions that a type shows.
const DEPTH_MAX: usize = 32;

/// Whether a type describes what PHP code passes or what it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Enumerations are enumerations of PHP.
    Params,
    /// Enumerations are unions of literals, because results are decoded JSON.
    Result,
}

/// A string enumeration that becomes one of PHP.
#[derive(Debug)]
pub(super) struct Enumeration {
    wanted: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) literals: Vec<(String, Option<String>)>,
}

/// A type with a name in the doc comment of the class.
#[derive(Debug)]
pub(super) struct TypeAlias {
    wanted: String,
    pub(super) name: String,
    pub(super) doc: DocType,
}

/// The types that a class has collected.
#[derive(Debug)]
pub(super) struct ClassTypes {
    /// The namespace of its enumerations, relative to its own.
    pub(super) namespace: String,
    pub(super) aliases: Vec<TypeAlias>,
    pub(super) enumerations: Vec<Enumeration>,
    /// Whether a type is recursive, and therefore not shown as a whole.
    pub(super) has_recursion: bool,
    alias_names: NameSet,
    class_names: NameSet,
}

/// Reads the types of one schema.
pub(super) struct TypeReader<'a> {
    pub(super) class: &'a mut ClassTypes,
    schema: &'a Schema,
    direction: Direction,
    /// In how many arrays and objects the current part is.
    depth: usize,
    /// The definitions that are being read, the outermost first.
    open: Vec<&'a str>,
    done: BTreeMap<&'a str, PhpType>,
}

impl ClassTypes {
    /// Makes the types of a class. No alias may have the name of a class in its namespace.
    pub(super) fn new<'a>(class: &str, classes: impl Iterator<Item = &'a str>) -> Self {
        let mut alias_names = NameSet::default();
        classes.for_each(|name| alias_names.reserve(name));
        Self {
            namespace: class.to_owned(),
            aliases: Vec::new(),
            enumerations: Vec::new(),
            has_recursion: false,
            alias_names,
            class_names: NameSet::default(),
        }
    }

    /// Returns a name for a further class in the namespace of the enumerations.
    pub(super) fn class_name(&mut self, name: &str) -> String {
        self.class_names.class(name)
    }

    fn alias(&mut self, wanted: &str, ty: &PhpType) -> PhpType {
        let doc = ty.doc();
        let known = self.aliases.iter().find(|alias| alias.wanted == wanted && alias.doc == doc);
        let name = known.map(|alias| alias.name.clone()).unwrap_or_else(|| {
            let name = self.alias_names.class(wanted);
            self.aliases.push(TypeAlias { wanted: wanted.to_owned(), name: name.clone(), doc });
            name
        });
        ty.named(&name)
    }

    fn enumeration(&mut self, wanted: &str, literals: Vec<(String, Option<String>)>, node: &Node) -> PhpType {
        let is_same = |one: &&Enumeration| one.wanted == wanted && one.literals == literals;
        let known = self.enumerations.iter().find(is_same).map(|one| one.name.clone());
        let name = known.unwrap_or_else(|| {
            let name = self.class_names.class(wanted);
            let description = node.description.clone();
            let wanted = wanted.to_owned();
            self.enumerations.push(Enumeration { wanted, name: name.clone(), description, literals });
            name
        });
        PhpType::plain(&format!("{}\\{name}", self.namespace))
    }
}

impl<'a> TypeReader<'a> {
    pub(super) fn new(class: &'a mut ClassTypes, schema: &'a Schema, direction: Direction) -> Self {
        Self { class, schema, direction, depth: 0, open: Vec::new(), done: BTreeMap::new() }
    }

    /// Returns the type of the whole value. `hint` names it if the schema does not.
    pub(super) fn root(&mut self, hint: &str) -> PhpType {
        let schema = self.schema;
        match schema.root.shape {
            Shape::Reference(_) => self.node(&schema.root, hint),
            _ => self.definition("", &schema.root, schema.root.title.as_deref().unwrap_or(hint)),
        }
    }

    /// Returns the type of a part of the value. `hint` names an enumeration without a name.
    pub(super) fn node(&mut self, node: &'a Node, hint: &str) -> PhpType {
        match &node.shape {
            Shape::Any | Shape::Never | Shape::Opaque => PhpType::mixed(),
            Shape::Null => PhpType::null(),
            Shape::Boolean => PhpType::plain("bool"),
            Shape::Integer(shape) if is_beyond_int(shape) => {
                PhpType::union([PhpType::plain("int"), PhpType::plain("string")])
            }
            Shape::Integer(_) => PhpType::plain("int"),
            Shape::Number(_) => PhpType::plain("float"),
            // Opaque bytes are never a part of JSON.
            Shape::Bytes if self.depth == 0 => PhpType::plain("\\Jackfield\\Bytes"),
            Shape::Text(_) | Shape::Bytes => PhpType::plain("string"),
            Shape::Array(_) | Shape::Object(_) => PhpType::new("array", self.container(node, hint)),
            Shape::Literals(literals) => self.literals(node, literals, node.title.as_deref().unwrap_or(hint)),
            Shape::Union(members) => {
                let types: Vec<_> = members.iter().map(|member| self.node(member, hint)).collect();
                PhpType::union(types)
            }
            Shape::Reference(name) => self.reference(name, hint),
        }
    }

    fn reference(&mut self, name: &'a str, hint: &str) -> PhpType {
        let schema = self.schema;
        let target = match name {
            "" => Some(&schema.root),
            _ => schema.definitions.get(name),
        };
        let Some(target) = target else { return PhpType::mixed() };
        if let Some(done) = self.done.get(name) {
            return done.clone();
        }

        if self.open.contains(&name) || self.open.len() >= DEPTH_MAX {
            self.class.has_recursion = true;
            let is_array = matches!(target.shape, Shape::Array(_) | Shape::Object(_));
            let inner = DocType::Name("mixed".to_owned());
            let array = || PhpType::new("array", DocType::Items("array<", Box::new(inner)));
            return if is_array { array() } else { PhpType::mixed() };
        }
        let wanted = match name {
            "" => target.title.as_deref().unwrap_or(hint),
            _ => name,
        };
        self.definition(name, target, wanted)
    }

    /// Reads a definition, and gives its type a name if it is more than a word.
    fn definition(&mut self, name: &'a str, target: &'a Node, wanted: &str) -> PhpType {
        self.open.push(name);
        let mut ty = self.node(target, wanted);
        self.open.pop();

        if !ty.is_mixed() && !is_simple(&ty.doc()) {
            ty = self.class.alias(&pascal(wanted, "Value"), &ty);
        }
        self.done.insert(name, ty.clone());
        ty
    }

    fn container(&mut self, node: &'a Node, hint: &str) -> DocType {
        self.depth += 1;
        let doc = match &node.shape {
            Shape::Array(shape) => self.array(shape, hint),
            Shape::Object(shape) => self.object(shape),
            _ => DocType::Name("array".to_owned()),
        };
        self.depth -= 1;
        doc
    }

    fn array(&mut self, shape: &'a ArrayShape, hint: &str) -> DocType {
        let count = shape.prefix.len() as u64;
        let prefix: Vec<_> = shape.prefix.iter().map(|item| self.node(item, hint)).collect();
        let is_fixed = shape.min_items == Some(count)
            && (shape.items.shape == Shape::Never || shape.max_items == Some(count));
        if count > 0 && is_fixed {
            return DocType::Tuple(prefix.iter().map(PhpType::doc).collect());
        }

        let has_others = shape.items.shape != Shape::Never || count == 0;
        let others = has_others.then(|| self.node(&shape.items, hint));
        DocType::Items("list<", Box::new(PhpType::union(prefix.into_iter().chain(others)).doc()))
    }

    fn object(&mut self, shape: &'a ObjectShape) -> DocType {
        let is_open = !matches!(shape.additional.shape, Shape::Any | Shape::Never);
        if shape.properties.is_empty() {
            let values = self.node(&shape.additional, "Value").doc();
            return DocType::Items("array<array-key, ", Box::new(values));
        }

        let mut members: Vec<(String, bool, DocType)> = Vec::new();
        for property in &shape.properties {
            let name = &property.name;
            let key = if is_identifier(name) { Some(name.clone()) } else { quote_in_type(name) };
            let doc = self.node(&property.node, &pascal(name, "Value")).doc();
            match key {
                Some(key) if members.iter().all(|(other, ..)| *other != key) => {
                    members.push((key, !property.is_required, doc));
                }
                Some(_) => {}
                None => {
                    let values = DocType::Name("mixed".to_owned());
                    return DocType::Items("array<array-key, ", Box::new(values));
                }
            }
        }
        DocType::Shape { members, is_open }
    }

    fn literals(&mut self, node: &Node, literals: &[Literal], wanted: &str) -> PhpType {
        let mut texts: Vec<(String, Option<String>)> = Vec::new();
        for literal in literals {
            let text = literal.value.as_str().filter(|text| texts.iter().all(|(other, _)| other != text));
            texts.extend(text.map(|text| (text.to_owned(), literal.description.clone())));
        }
        let is_null = |literal: &Literal| literal.value.is_null();
        let is_text = |literal: &Literal| literal.value.is_string() || is_null(literal);

        if self.direction == Direction::Params && texts.len() > 1 && literals.iter().all(is_text) {
            let ty = self.class.enumeration(&pascal(wanted, "Value"), texts, node);
            return if literals.iter().any(is_null) { ty.or_null() } else { ty };
        }
        PhpType::union(literals.iter().map(literal_type))
    }
}

/// Returns whether a value may be an integer that PHP has none for. The client returns it as a
/// string of its digits.
pub(super) fn is_beyond_int(shape: &IntegerShape) -> bool {
    let is_wide = matches!(shape.format.as_deref(), Some("uint64" | "uint" | "uint128" | "int128"));
    match shape.maximum {
        Some(maximum) => maximum > i128::from(i64::MAX),
        None => is_wide,
    }
}

fn literal_type(literal: &Literal) -> PhpType {
    use serde_json::Value;

    let doc = |native: &str, text: Option<String>| {
        PhpType::new(native, DocType::Name(text.unwrap_or_else(|| native.to_owned())))
    };
    match &literal.value {
        Value::Null => PhpType::null(),
        Value::Bool(value) => doc("bool", Some(value.to_string())),
        Value::String(text) => doc("string", quote_in_type(text)),
        Value::Number(number) if number.is_i64() => doc("int", Some(number.to_string())),
        Value::Number(number) if number.is_u64() => doc("string", Some(format!("'{number}'"))),
        Value::Number(_) => PhpType::plain("float"),
        Value::Array(_) | Value::Object(_) => doc("array", Some("array<mixed>".to_owned())),
    }
}

/// Returns whether a type needs no name.
fn is_simple(doc: &DocType) -> bool {
    match doc {
        DocType::Name(_) => true,
        DocType::Items(_, items) => is_simple(items),
        DocType::Union(members) => members.iter().all(DocType::is_name),
        DocType::Shape { .. } | DocType::Tuple(_) => false,
    }
}
