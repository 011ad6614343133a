//! The types of JSON values that a schema admits.

use serde_json::Value;

use super::steps::Steps;
use crate::schema::{Node, Schema, Shape};

/// A set of types of values. Numbers are integers and fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const NULL: Self = Self(1);
    const BOOLEAN: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    const FRACTION: Self = Self(8);
    const TEXT: Self = Self(16);
    const ARRAY: Self = Self(32);
    const OBJECT: Self = Self(64);
    const BYTES: Self = Self(128);
    const JSON: Self = Self(127);
    const ALL: Self = Self(255);

    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => {
                Self::INTEGER
            }
            Value::Number(_) => Self::FRACTION,
            Value::String(_) => Self::TEXT,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    /// Returns the types of one alternative.
    pub(super) fn of_shape(shape: &Shape) -> Self {
        match shape {
            Shape::Any => Self::JSON,
            Shape::Never => Self::NONE,
            Shape::Null => Self::NULL,
            Shape::Boolean => Self::BOOLEAN,
            Shape::Integer(_) => Self::INTEGER,
            Shape::Number(_) => Self(Self::INTEGER.0 | Self::FRACTION.0),
            Shape::Text(_) => Self::TEXT,
            Shape::Array(_) => Self::ARRAY,
            Shape::Object(_) => Self::OBJECT,
            Shape::Bytes => Self::BYTES,
            Shape::Literals(literals) => {
                literals.iter().fold(Self::NONE, |kinds, literal| kinds.or(Self::of_value(&literal.value)))
            }
            Shape::Union(_) | Shape::Reference(_) | Shape::Opaque => Self::ALL,
        }
    }

    pub(super) fn of_all(nodes: &[&Node]) -> Self {
        nodes.iter().fold(Self::NONE, |kinds, node| kinds.or(Self::of_shape(&node.shape)))
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Names the types with `article`s, such as `an integer or null`.
    pub(super) fn names(self) -> String {
        let numbers = match (self.meets(Self::INTEGER), self.meets(Self::FRACTION)) {
            (true, false) => Some("an integer"),
            (false, false) => None,
            (_, true) => Some("a number"),
        };
        let named = |kind: Self, name: &'static str| self.meets(kind).then_some(name);
        let names = [
            named(Self::OBJECT, "an object"),
            named(Self::ARRAY, "an array"),
            named(Self::TEXT, "text"),
            numbers,
            named(Self::BOOLEAN, "a boolean"),
            named(Self::BYTES, "bytes"),
            named(Self::NULL, "null"),
        ];
        let names: Vec<_> = names.into_iter().flatten().collect();
        match names.as_slice() {
            [] => "nothing".to_owned(),
            _ if self.0 & Self::JSON.0 == Self::JSON.0 => "any value".to_owned(),
            [name] => (*name).to_owned(),
            [names @ .., last] => format!("{} or {last}", names.join(", ")),
        }
    }

    /// Names the types as what is admitted no more, such as `integer`.
    pub(super) fn bare_names(self) -> String {
        self.names().replace("an ", "").replace("a ", "")
    }
}

/// Returns the members of unions and the targets of references that a node stands for. A reference
/// that leads in a circle stands for itself.
pub(super) fn alternatives<'a>(schema: &'a Schema, node: &'a Node, steps: &Steps) -> Vec<&'a Node> {
    let mut found = Vec::new();
    let mut expanded: Vec<*const Node> = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        let node = schema.resolve(node);
        match &node.shape {
            Shape::Union(members) => {
                // Members that are references can lead to the same union many times.
                if !steps.take(members.len() + expanded.len() / 8) {
                    return vec![node];
                }
                if !expanded.iter().any(|seen| std::ptr::eq(*seen, node)) {
                    expanded.push(node);
                    open.extend(members.iter().rev());
                }
            }
            Shape::Never => {}
            _ => found.push(node),
        }
    }
    found
}
