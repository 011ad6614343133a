//! Params that PHP would write as other JSON than their method expects, and the code that
//! converts them.
//!
//! PHP has one type for lists and maps, and no integers beyond 64 bits. `Jackfield\Typed\Encode` of
//! the client has one function for each of these cases; the code composes them.

use jackfield_contract::{Node, ObjectShape, Schema, Shape};

use super::text::quote;
use super::type_reader::is_beyond_int;

/// The class of the client with the functions.
pub(super) const ENCODE: &str = "\\Jackfield\\Typed\\Encode";

/// The most nodes of a schema that are examined for one parameter. Values below them are sent as
/// they are.
const NODES_MAX: usize = 500;

/// The conversion of a value.
#[derive(Debug, Clone, PartialEq)]
enum Conversion {
    /// Digits become an integer.
    Integer,
    /// An array becomes a list.
    List(Option<Box<Conversion>>),
    /// An array becomes an object with members of any name.
    Map(Option<Box<Conversion>>),
    /// An array becomes an object; some of its members are converted, too.
    Object(Vec<(String, Option<Conversion>)>),
}

/// Returns the code that sends the PHP expression `value` as `node`: `value` itself if it needs no
/// conversion.
pub(super) fn convert(schema: &Schema, node: &Node, value: &str) -> String {
    let mut reader = Reader { schema, open: Vec::new(), nodes: 0 };
    reader.node(node).map_or_else(|| value.to_owned(), |conversion| conversion.call(value))
}

struct Reader<'a> {
    schema: &'a Schema,
    open: Vec<&'a str>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn node(&mut self, node: &'a Node) -> Option<Conversion> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return None;
        }

        match &node.shape {
            Shape::Integer(shape) => is_beyond_int(shape).then_some(Conversion::Integer),
            Shape::Array(shape) => {
                let is_list = shape.prefix.is_empty();
                let items = if is_list { self.node(&shape.items) } else { None };
                Some(Conversion::List(items.map(Box::new)))
            }
            Shape::Object(shape) => Some(self.object(shape)),
            Shape::Union(members) => self.union(members),
            Shape::Reference(name) => self.reference(name),
            _ => None,
        }
    }

    /// Follows a reference. Below their first level, values of recursive types are sent as they
    /// are.
    fn reference(&mut self, name: &'a str) -> Option<Conversion> {
        if self.open.contains(&name) {
            return None;
        }
        let schema = self.schema;
        let target = if name.is_empty() { &schema.root } else { schema.definitions.get(name)? };

        self.open.push(name);
        let conversion = self.node(target);
        self.open.pop();
        conversion
    }

    fn object(&mut self, shape: &'a ObjectShape) -> Conversion {
        if shape.properties.is_empty() {
            return Conversion::Map(self.node(&shape.additional).map(Box::new));
        }
        let members = shape.properties.iter();
        let members = members.map(|member| (member.name.clone(), self.node(&member.node)));
        Conversion::Object(members.collect())
    }

    /// Converts what one member of a union needs. If several are arrays, they must be objects, and
    /// members that they convert in different ways are sent as they are.
    fn union(&mut self, members: &'a [Node]) -> Option<Conversion> {
        let is_text = |node: &Node| {
            matches!(node.shape, Shape::Text(_) | Shape::Literals(_) | Shape::Any | Shape::Opaque)
        };
        let mut conversions = members.iter().filter_map(|member| self.node(member)).collect::<Vec<_>>();
        if members.iter().any(is_text) {
            conversions.retain(|conversion| *conversion != Conversion::Integer);
        }

        conversions.into_iter().map(Some).reduce(|left, right| merge(left?, right?)).flatten()
    }
}

fn merge(left: Conversion, right: Conversion) -> Option<Conversion> {
    match (left, right) {
        (left, right) if left == right => Some(left),
        (Conversion::Object(left), Conversion::Object(right)) => {
            let mut members = left;
            for (name, conversion) in right {
                match members.iter_mut().find(|(other, _)| *other == name) {
                    Some((_, other)) if *other != conversion => *other = None,
                    Some(_) => {}
                    None => members.push((name, conversion)),
                }
            }
            Some(Conversion::Object(members))
        }
        _ => None,
    }
}

impl Conversion {
    fn call(&self, value: &str) -> String {
        let (function, argument) = self.parts();
        let argument = argument.map(|argument| format!(", {argument}")).unwrap_or_default();
        format!("{ENCODE}::{function}({value}{argument})")
    }

    /// Returns the conversion as a closure.
    fn closure(&self) -> String {
        match self.parts() {
            (function, None) => format!("{ENCODE}::{function}(...)"),
            (function, Some(argument)) => {
                format!("static fn (mixed $value): mixed => {ENCODE}::{function}($value, {argument})")
            }
        }
    }

    fn parts(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Integer => ("integer", None),
            Self::List(items) => ("list", items.as_ref().map(|items| items.closure())),
            Self::Map(values) => ("map", values.as_ref().map(|values| values.closure())),
            Self::Object(members) => {
                let members = members.iter().filter_map(|(name, value)| {
                    Some(format!("{} => {}", quote(name), value.as_ref()?.closure()))
                });
                let members: Vec<_> = members.collect();
                ("object", (!members.is_empty()).then(|| format!("[{}]", members.join(", "))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn converted(document: Value) -> String {
        let schema = Schema::from_value(document).unwrap();
        convert(&schema, &schema.root, "$x").replace(ENCODE, "E")
    }

    #[test]
    fn converts_what_php_would_write_as_other_json() {
        let wide = json!({ "type": "integer", "format": "uint64", "minimum": 0 });
        assert_eq!(converted(json!({ "type": "string" })), "$x");
        assert_eq!(converted(json!({ "type": "integer", "format": "int64" })), "$x");
        assert_eq!(converted(wide.clone()), "E::integer($x)");
        assert_eq!(converted(json!({ "type": "array", "items": { "type": "string" } })), "E::list($x)");
        assert_eq!(converted(json!({ "type": "array", "items": wide })), "E::list($x, E::integer(...))");
        assert_eq!(
            converted(json!({ "type": "object", "additionalProperties": { "type": "object" } })),
            "E::map($x, E::map(...))"
        );
        assert_eq!(
            converted(json!({ "type": "object", "properties": { "a'": wide, "b": { "type": "string" } } })),
            r"E::object($x, ['a\'' => E::integer(...)])"
        );
    }

    #[test]
    fn converts_members_of_unions_only_where_all_agree() {
        let wide = json!({ "type": "integer", "format": "uint64" });
        let text = json!({ "type": "string" });
        assert_eq!(converted(json!({ "anyOf": [wide, { "type": "null" }] })), "E::integer($x)");
        assert_eq!(converted(json!({ "anyOf": [wide, text] })), "$x", "digits may be meant as text");

        let object = |id: &Value| json!({ "type": "object", "properties": { "id": id, "n": wide } });
        assert_eq!(
            converted(json!({ "oneOf": [object(&wide), object(&text)] })),
            "E::object($x, ['n' => E::integer(...)])",
        );
        let list = json!({ "type": "array", "items": true });
        assert_eq!(converted(json!({ "anyOf": [list, object(&wide)] })), "$x");
    }

    #[test]
    fn ends_at_recursion_and_at_large_schemas() {
        let tree = json!({ "$ref": "#/$defs/T", "$defs": { "T": {
            "type": "object", "properties": { "children": { "type": "array", "items": { "$ref": "#/$defs/T" } } },
        } } });
        assert_eq!(converted(tree), "E::object($x, ['children' => E::list(...)])");

        let mut definitions = serde_json::Map::new();
        for level in 0..40 {
            let next = json!({ "$ref": format!("#/$defs/D{}", level + 1) });
            let pair = json!({ "type": "object", "properties": { "a": next, "b": next } });
            definitions.insert(format!("D{level}"), pair);
        }
        definitions.insert("D40".to_owned(), json!({ "type": "integer", "format": "uint64" }));
        let code = converted(json!({ "$ref": "#/$defs/D0", "$defs": definitions }));
        assert!(code.len() < 100_000, "{}", code.len());
    }
}
