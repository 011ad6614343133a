//! Two demands on one value as one shape.
//!
//! schemars writes several demands into one schema where Rust has one type: the tag of an
//! internally tagged enum beside a `$ref` to its variant, the fields of a struct beside the `oneOf`
//! of an enum that is flattened into it.

use serde_json::Value;

use crate::schema::{Literal, Node, ObjectShape, Property, Shape};
use crate::schema_fault::SchemaFault;

/// Why two demands are not made one.
pub(crate) enum Conflict {
    /// Their common values are not modelled.
    NotModelled,
    /// The document is no schema.
    Fault(SchemaFault),
}

impl From<SchemaFault> for Conflict {
    fn from(fault: SchemaFault) -> Self {
        Self::Fault(fault)
    }
}

/// Joins demands. The reader of schemas counts what it makes, and knows the definitions.
pub(crate) trait Conjunction {
    /// Counts nodes that were made, against the limits of a document.
    fn count(&mut self, nodes: usize) -> Result<(), SchemaFault>;

    /// Reads a definition in place of a reference to it, and joins it. A definition that leads to
    /// itself meanwhile is not modelled.
    fn inline(
        &mut self,
        name: &str,
        join: impl FnOnce(&mut Self, Shape) -> Result<Shape, Conflict>,
    ) -> Result<Shape, Conflict>;

    /// Returns the shape of the values that both shapes admit.
    fn both(&mut self, left: Shape, right: Shape) -> Result<Shape, Conflict> {
        match (left, right) {
            (Shape::Any, other) | (other, Shape::Any) => Ok(other),
            (Shape::Never, _) | (_, Shape::Never) => Ok(Shape::Never),
            (left, right) if left == right && left != Shape::Opaque => Ok(left),
            (Shape::Reference(name), other) => self.inline(&name, |this, shape| this.both(shape, other)),
            (other, Shape::Reference(name)) => self.inline(&name, |this, shape| this.both(other, shape)),
            (Shape::Union(members), other) => {
                self.each(members, |this, shape| this.both(shape, other.clone()))
            }
            (other, Shape::Union(members)) => {
                self.each(members, |this, shape| this.both(other.clone(), shape))
            }
            (Shape::Object(left), Shape::Object(right)) => self.both_objects(*left, *right),
            (Shape::Literals(left), Shape::Literals(right)) => {
                let is_common = |literal: &Literal| right.iter().any(|other| other.value == literal.value);
                self.count(left.len().saturating_mul(right.len()) / 100)?;
                Ok(Shape::Literals(left.into_iter().filter(is_common).collect()))
            }
            _ => Err(Conflict::NotModelled),
        }
    }

    /// Applies a demand to each member of a union.
    fn each(
        &mut self,
        members: Vec<Node>,
        mut demand: impl FnMut(&mut Self, Shape) -> Result<Shape, Conflict>,
    ) -> Result<Shape, Conflict> {
        let mut joined = Vec::new();
        for member in members {
            let shape = demand(self, member.shape)?;
            self.count(size(&shape))?;
            if shape != Shape::Never {
                joined.push(Node { shape, ..member });
            }
        }
        Ok(if joined.is_empty() { Shape::Never } else { Shape::Union(joined) })
    }

    /// Returns the object with the members of both. A member that only one of them names is one of
    /// the further members of the other.
    fn both_objects(&mut self, left: ObjectShape, right: ObjectShape) -> Result<Shape, Conflict> {
        if left.names.is_some() || right.names.is_some() {
            return Err(Conflict::NotModelled);
        }
        self.count(left.properties.len().saturating_mul(right.properties.len()) / 100)?;

        let mut properties: Vec<Property> = Vec::new();
        let mut others = right.properties;
        for property in left.properties {
            let at = others.iter().position(|other| other.name == property.name);
            let (node, is_required) = match at.map(|at| others.remove(at)) {
                Some(other) => (other.node, other.is_required),
                None => (right.additional.clone(), false),
            };
            let node = self.both_nodes(property.node, node)?;
            properties.push(Property { is_required: is_required || property.is_required, node, ..property });
        }
        for other in others {
            let node = self.both_nodes(other.node, left.additional.clone())?;
            properties.push(Property { node, ..other });
        }

        properties.sort_by(|left, right| {
            right.is_required.cmp(&left.is_required).then_with(|| match left.is_required {
                true => std::cmp::Ordering::Equal,
                false => left.name.cmp(&right.name),
            })
        });
        let is_map = left.is_map || right.is_map;
        let additional = self.both_nodes(left.additional, right.additional)?;
        Ok(Shape::Object(Box::new(ObjectShape { properties, additional, names: None, is_map })))
    }

    /// Joins two nodes. The texts of the first one are preferred.
    fn both_nodes(&mut self, left: Node, right: Node) -> Result<Node, Conflict> {
        if right.shape == Shape::Any {
            return Ok(left);
        }
        Ok(Node {
            title: left.title.or(right.title),
            description: left.description.or(right.description),
            deprecated: left.deprecated || right.deprecated,
            default: left.default.or(right.default),
            unmodelled: None,
            shape: match (left.shape, right.shape) {
                (Shape::Any, Shape::Opaque) => return Err(Conflict::NotModelled),
                (left, right) => self.both(left, right)?,
            },
        })
    }

    /// Replaces the further members of an object that says nothing about them.
    fn close(&mut self, shape: Shape, further: &Node) -> Result<Shape, Conflict> {
        match shape {
            Shape::Object(mut object) => {
                if object.additional.shape == Shape::Any {
                    self.count(size_of(further))?;
                    object.additional = further.clone();
                }
                Ok(Shape::Object(object))
            }
            Shape::Union(members) => self.each(members, |this, shape| this.close(shape, further)),
            Shape::Reference(name) => self.inline(&name, |this, shape| this.close(shape, further)),
            Shape::Any | Shape::Opaque => Err(Conflict::NotModelled),
            other => Ok(other),
        }
    }
}

/// Returns what a node takes, in nodes: a long text counts as several.
fn size_of(node: &Node) -> usize {
    let texts = [&node.title, &node.description].into_iter().flatten().map(|text| text.len() / 64);
    let values = [&node.default, &node.unmodelled].into_iter().flatten().map(weight);
    1 + texts.sum::<usize>() + values.sum::<usize>() + size(&node.shape)
}

fn size(shape: &Shape) -> usize {
    let of_nodes = |nodes: &[Node]| nodes.iter().map(size_of).sum::<usize>();
    match shape {
        Shape::Union(members) => of_nodes(members),
        Shape::Array(array) => of_nodes(&array.prefix) + size_of(&array.items),
        Shape::Object(object) => {
            let members = object.properties.iter().map(|property| size_of(&property.node));
            members.sum::<usize>() + size_of(&object.additional)
        }
        Shape::Literals(literals) => literals.iter().map(|literal| weight(&literal.value)).sum(),
        _ => 0,
    }
}

/// Returns what a JSON value takes, likewise.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / 64,
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(members) => {
            1 + members.iter().map(|(name, value)| name.len() / 64 + weight(value)).sum::<usize>()
        }
        _ => 1,
    }
}
