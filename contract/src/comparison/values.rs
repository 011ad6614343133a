//! Whether a schema admits a value, and values that a schema admits.

use serde_json::{Map, Value};

use super::fit::Fit;
use super::kinds::{Kinds, alternatives};
use super::ranges;
use super::steps::Steps;
use crate::schema::{ArrayShape, Node, ObjectShape, Schema, Shape, TextShape};

/// The deepest nesting of values that are made or checked.
const DEPTH_MAX: usize = 24;
/// The depth down to which a value is complete, and that to which members are known to be
/// impossible.
const DETAIL_MAX: usize = 2;
/// The longest text and array that is made.
const LENGTH_MAX: u64 = 256;

/// A schema with the steps that may be taken in it.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) schema: &'a Schema,
    pub(super) steps: &'a Steps,
}

impl<'a> Values<'a> {
    pub(super) fn with<'b>(self, steps: &'b Steps) -> Values<'b>
    where
        'a: 'b,
    {
        Values { schema: self.schema, steps }
    }

    /// Returns whether a node admits the value.
    pub(super) fn admit(self, node: &'a Node, value: &Value) -> Fit {
        self.admit_at(node, value, 0)
    }

    fn admit_at(self, node: &'a Node, value: &Value, depth: usize) -> Fit {
        if depth > DEPTH_MAX || !self.steps.take(1) {
            return Fit::Unknown;
        }
        let mut best = Fit::No;
        for alternative in alternatives(self.schema, node, self.steps) {
            best = best.max(self.admit_alternative(alternative, value, depth));
            if best == Fit::Yes {
                break;
            }
        }
        best
    }

    fn admit_alternative(self, node: &'a Node, value: &Value, depth: usize) -> Fit {
        let shape = &node.shape;
        if !Kinds::of_shape(shape).meets(Kinds::of_value(value)) {
            return Fit::No;
        }
        match (shape, value) {
            (Shape::Literals(literals), value) => {
                if !self.steps.take(literals.len()) {
                    return Fit::Unknown;
                }
                Fit::certain(literals.iter().any(|literal| is_same(&literal.value, value)))
            }
            (Shape::Integer(shape), value) => Fit::certain(ranges::integer_admits(shape, value)),
            (Shape::Number(shape), value) => Fit::certain(ranges::number_admits(shape, value)),
            (Shape::Text(shape), Value::String(text)) => admit_text(shape, text),
            (Shape::Array(shape), Value::Array(items)) => self.admit_items(shape, items, depth),
            (Shape::Object(shape), Value::Object(members)) => self.admit_members(shape, members, depth),
            (Shape::Opaque | Shape::Reference(_) | Shape::Union(_), _) => Fit::Unknown,
            _ => Fit::Yes,
        }
    }

    fn admit_items(self, shape: &'a ArrayShape, items: &[Value], depth: usize) -> Fit {
        let length = items.len() as u64;
        if length < shape.min_items.unwrap_or(0) || length > shape.max_items.unwrap_or(u64::MAX) {
            return Fit::No;
        }
        let node = |at: usize| shape.prefix.get(at).unwrap_or(&shape.items);
        let fits = items.iter().enumerate().map(|(at, item)| self.admit_at(node(at), item, depth + 1));
        let fit = fits.min().unwrap_or(Fit::Yes);
        if shape.unique && items.len() > 1 { fit.min(Fit::Unknown) } else { fit }
    }

    fn admit_members(self, shape: &'a ObjectShape, members: &Map<String, Value>, depth: usize) -> Fit {
        if !self.steps.take(shape.properties.len()) {
            return Fit::Unknown;
        }
        let mut fit = Fit::Yes;
        let mut named = 0;
        for property in &shape.properties {
            match members.get(&property.name) {
                Some(value) => {
                    named += 1;
                    fit = fit.min(self.admit_at(&property.node, value, depth + 1));
                }
                None if property.is_required => return Fit::No,
                None => {}
            }
        }
        if named == members.len() || shape.additional.shape == Shape::Any {
            return fit;
        }

        let is_named = |name: &str| shape.properties.iter().any(|property| property.name == name);
        for (_, value) in members.iter().filter(|(name, _)| !is_named(name)) {
            fit = fit.min(self.admit_at(&shape.additional, value, depth + 1));
        }
        if shape.names.is_some() { fit.min(Fit::Unknown) } else { fit }
    }

    /// Returns whether missing params fit: they are read as `null`, or as `{}` if that does not
    /// fit.
    pub(super) fn admit_missing(self) -> Fit {
        let root = &self.schema.root;
        self.admit(root, &Value::Null).max(self.admit(root, &Value::Object(Map::new())))
    }

    /// Makes values of a node, small ones and complete ones. There may be none.
    pub(super) fn samples(self, node: &'a Node) -> Vec<Value> {
        let mut samples: Vec<_> =
            [false, true].iter().filter_map(|full| self.sample(node, *full, 0)).collect();
        samples.dedup();
        samples
    }

    fn sample(self, node: &'a Node, is_full: bool, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX || !self.steps.take(1) {
            return None;
        }
        let is_full = is_full && depth <= DETAIL_MAX;
        let nodes = alternatives(self.schema, node, self.steps);
        nodes.into_iter().find_map(|node| match &node.shape {
            Shape::Any | Shape::Null => Some(Value::Null),
            Shape::Boolean => Some(Value::Bool(is_full)),
            Shape::Integer(shape) => ranges::integer_sample(shape, is_full),
            Shape::Number(shape) => ranges::number_sample(shape, is_full),
            Shape::Text(shape) => text_sample(shape, is_full),
            Shape::Literals(literals) => literals.first().map(|literal| literal.value.clone()),
            Shape::Array(shape) => self.sample_array(shape, is_full, depth),
            Shape::Object(shape) => self.sample_object(shape, is_full, depth),
            _ => None,
        })
    }

    fn sample_array(self, shape: &'a ArrayShape, is_full: bool, depth: usize) -> Option<Value> {
        let least = shape.min_items.unwrap_or(0);
        let greatest = shape.max_items.unwrap_or(u64::MAX);
        let wanted = if is_full { (shape.prefix.len() as u64).max(1) } else { 0 };
        let length = wanted.max(least).min(greatest);
        if length > LENGTH_MAX || least > greatest || (shape.unique && length > 1) {
            return None;
        }

        let node = |at: usize| shape.prefix.get(at).unwrap_or(&shape.items);
        let mut items = Vec::new();
        for at in 0..usize::try_from(length).ok()? {
            match self.sample(node(at), is_full, depth + 1) {
                Some(item) => items.push(item),
                None if items.len() as u64 >= least => break,
                None => return None,
            }
        }
        Some(Value::Array(items))
    }

    fn sample_object(self, shape: &'a ObjectShape, is_full: bool, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        for property in shape.properties.iter().filter(|property| is_full || property.is_required) {
            match self.sample(&property.node, is_full, depth + 1) {
                Some(value) => {
                    members.insert(property.name.clone(), value);
                }
                None if property.is_required => return None,
                None => {}
            }
        }
        Some(Value::Object(members))
    }

    /// Returns whether a node certainly admits no value.
    pub(super) fn is_empty(self, node: &'a Node) -> bool {
        self.is_empty_at(node, 0)
    }

    fn is_empty_at(self, node: &'a Node, depth: usize) -> bool {
        if depth > DETAIL_MAX || !self.steps.take(1) {
            return false;
        }
        let is_empty = |node: &&'a Node| match &node.shape {
            Shape::Never => true,
            Shape::Literals(literals) => literals.is_empty(),
            Shape::Integer(shape) => ranges::is_empty(shape),
            Shape::Number(shape) => matches!((shape.minimum, shape.maximum), (Some(a), Some(b)) if a > b),
            Shape::Text(shape) => shape.min_length > shape.max_length.or(Some(u64::MAX)),
            Shape::Array(shape) => {
                let least = shape.min_items.unwrap_or(0);
                let first = shape.prefix.first().unwrap_or(&shape.items);
                least > shape.max_items.unwrap_or(u64::MAX)
                    || (least > 0 && self.is_empty_at(first, depth + 1))
            }
            Shape::Object(shape) => {
                let mut required = shape.properties.iter().take_while(|property| property.is_required);
                required.any(|property| self.is_empty_at(&property.node, depth + 1))
            }
            _ => false,
        };
        alternatives(self.schema, node, self.steps).iter().all(is_empty)
    }
}

fn admit_text(shape: &TextShape, text: &str) -> Fit {
    let length = text.chars().count() as u64;
    if length < shape.min_length.unwrap_or(0) || length > shape.max_length.unwrap_or(u64::MAX) {
        return Fit::No;
    }
    if shape.pattern.is_some() { Fit::Unknown } else { Fit::Yes }
}

fn text_sample(shape: &TextShape, is_full: bool) -> Option<Value> {
    let least = shape.min_length.unwrap_or(0);
    let greatest = shape.max_length.unwrap_or(u64::MAX);
    let length = if is_full { least.max(16).min(greatest) } else { least };
    if length > LENGTH_MAX || least > greatest || shape.pattern.is_some() {
        return None;
    }
    Some(Value::String("z".repeat(usize::try_from(length).ok()?)))
}

/// Returns whether two values are the same to JSON Schema, for which `1.0` is `1`.
pub(super) fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() != b.is_f64() => a.as_f64() == b.as_f64(),
        _ => left == right,
    }
}

/// Returns a text that is equal for values that are the same.
pub(super) fn key(value: &Value) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "the number is whole and small")]
    let whole = value
        .as_f64()
        .filter(|number| number.fract() == 0.0 && number.abs() < 9e15)
        .map(|number| number as i64);
    whole.map_or_else(|| value.to_string(), |whole| whole.to_string())
}
