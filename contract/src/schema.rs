//! Schemas as values: the part of JSON Schema 2020-12 that describes types of serde.

use std::collections::BTreeMap;

use serde_json::Value;

/// The most references that are followed one after another. Chains of derived schemas have one or
/// two.
const REFERENCES_MAX: usize = 64;

/// The schema of one value, with the definitions that it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// The document, as the plugin wrote it.
    pub document: Value,
    /// The value itself.
    pub root: Node,
    /// The definitions (`$defs`) by name. Every [`Shape::Reference`] names one of them, or is empty
    /// and stands for the root.
    pub definitions: BTreeMap<String, Node>,
}

/// One schema inside of a document: what a value is, and what is said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name; schemars writes the name of the Rust type.
    pub title: Option<String>,
    /// The text of its doc comment.
    pub description: Option<String>,
    /// Whether its author advises against its use.
    pub deprecated: bool,
    /// The value that stands for a missing one.
    pub default: Option<Value>,
    /// The values that it admits.
    pub shape: Shape,
    /// The schema without remarks such as titles, if the shape is [`Shape::Opaque`].
    pub unmodelled: Option<Value>,
}

/// The values that a schema admits.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Every value.
    Any,
    /// No value.
    Never,
    /// `null`.
    Null,
    /// `true` and `false`.
    Boolean,
    /// Integers.
    Integer(IntegerShape),
    /// All numbers.
    Number(NumberShape),
    /// Strings.
    Text(TextShape),
    /// Arrays.
    Array(Box<ArrayShape>),
    /// Objects.
    Object(Box<ObjectShape>),
    /// Exactly these values: `const` and `enum`.
    Literals(Vec<Literal>),
    /// The values of each of these (`anyOf`, `oneOf`, several types).
    Union(Vec<Node>),
    /// The definition with this name; the root if it is empty.
    Reference(String),
    /// Opaque bytes instead of JSON.
    Bytes,
    /// Something that is not modelled, such as `not` and `patternProperties`: its values are not
    /// known. The document has it.
    Opaque,
}

/// One value of an enumeration.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    /// The value.
    pub value: Value,
    /// The text of its doc comment.
    pub description: Option<String>,
}

/// Bounds of integers, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntegerShape {
    /// The least one.
    pub minimum: Option<i128>,
    /// The greatest one.
    pub maximum: Option<i128>,
    /// The Rust type, such as `uint64`.
    pub format: Option<String>,
}

/// Bounds of numbers, both inclusive.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NumberShape {
    /// The least one.
    pub minimum: Option<f64>,
    /// The greatest one.
    pub maximum: Option<f64>,
    /// The Rust type: `float` or `double`.
    pub format: Option<String>,
}

/// Bounds of strings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextShape {
    /// The least number of characters.
    pub min_length: Option<u64>,
    /// The greatest number of characters.
    pub max_length: Option<u64>,
    /// A regular expression.
    pub pattern: Option<String>,
    /// The meaning of the string, such as `date-time`. It is a remark.
    pub format: Option<String>,
}

/// The items of an array.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayShape {
    /// The first items, each with a schema of its own (tuples).
    pub prefix: Vec<Node>,
    /// The other items.
    pub items: Node,
    /// The least number of items.
    pub min_items: Option<u64>,
    /// The greatest number of items.
    pub max_items: Option<u64>,
    /// Whether no item occurs twice.
    pub unique: bool,
}

/// The members of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectShape {
    /// The named members: first the required ones, in the order of `required`, then the others by
    /// name.
    pub properties: Vec<Property>,
    /// All other members. [`Shape::Never`] if there may be none.
    pub additional: Node,
    /// A regular expression for the names of the other members, such as that of a map whose keys
    /// are integers. Then no members are named.
    pub names: Option<String>,
    /// Whether further members are meant, because `additionalProperties` is written: those of a map
    /// are sent, and those of a struct are not, although it admits them.
    pub is_map: bool,
}

/// A named member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Whether it must be present.
    pub is_required: bool,
    /// Its value.
    pub node: Node,
}

impl Schema {
    /// Returns the node that a reference leads to, through further references; any other node as it
    /// is. A cycle of references, or a chain of more than 64, ends at one of its references.
    #[must_use]
    pub fn resolve<'a>(&'a self, node: &'a Node) -> &'a Node {
        let mut node = node;
        for _ in 0..REFERENCES_MAX {
            let Shape::Reference(name) = &node.shape else { break };
            node = if name.is_empty() { &self.root } else { self.definitions.get(name).unwrap_or(node) };
        }
        node
    }
}

impl Node {
    /// Makes a node about which nothing more is said.
    #[must_use]
    pub fn of(shape: Shape) -> Self {
        Self { title: None, description: None, deprecated: false, default: None, shape, unmodelled: None }
    }
}
