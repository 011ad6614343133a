//! Types whose values and relations are known by construction.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Null,
    Boolean,
    Integer(i64, i64),
    Number,
    Text(u64, Option<u64>),
    Enum(Vec<String>),
    Array(Box<Type>, u64, Option<u64>),
    Tuple(Vec<Type>),
    Object(Members),
    Map(Box<Type>),
    /// An internally tagged enum.
    Tagged(Vec<Members>),
    /// An externally tagged enum.
    External(Vec<Type>),
    Option(Box<Type>),
    /// The type, or a boolean.
    OrBoolean(Box<Type>),
    Any,
}

/// The members of an object, named by their positions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Members {
    pub(crate) list: Vec<Member>,
    pub(crate) is_closed: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) is_required: bool,
    pub(crate) of: Type,
}

pub(crate) fn any_type() -> impl Strategy<Value = Type> {
    let plain = prop_oneof![
        Just(Type::Boolean),
        (0..50_i64, 100..200_i64).prop_map(|(least, greatest)| Type::Integer(least, greatest)),
        Just(Type::Number),
        (0..3_u64, 5..9_u64).prop_map(|(least, greatest)| Type::Text(least, Some(greatest))),
        (1..4_usize).prop_map(|count| Type::Enum((0..count).map(|at| format!("v{at}")).collect())),
    ];
    plain.prop_recursive(3, 24, 4, |inner| {
        let inner = || inner.clone();
        let members = || {
            let list = prop::collection::vec((any::<bool>(), inner()), 0..4);
            (list, any::<bool>()).prop_map(|(list, is_closed)| {
                let member = |(at, (is_required, of))| Member { name: format!("p{at}"), is_required, of };
                Members { list: list.into_iter().enumerate().map(member).collect(), is_closed }
            })
        };
        prop_oneof![
            4 => members().prop_map(Type::Object),
            1 => (inner(), 0..2_u64).prop_map(|(of, least)| Type::Array(Box::new(of), least, Some(3))),
            1 => prop::collection::vec(inner(), 1..3).prop_map(Type::Tuple),
            1 => inner().prop_map(|of| Type::Map(Box::new(of))),
            1 => prop::collection::vec(members(), 1..3).prop_map(Type::Tagged),
            1 => prop::collection::vec(inner(), 1..3).prop_map(Type::External),
            1 => inner().prop_map(|of| match of {
                // With `oneOf`, null would fit twice.
                Type::Option(_) => of,
                of => Type::Option(Box::new(of)),
            }),
        ]
    })
}

/// A type that is one of the params: null is treated as missing there, which is tested elsewhere.
pub(crate) fn root_type() -> impl Strategy<Value = Type> {
    any_type().prop_filter("null", |of| !matches!(of, Type::Option(_)))
}

/// Writes the schema of a type. The style decides about everything that does not matter.
pub(crate) struct Writer {
    style: u64,
    written: u32,
    definitions: Map<String, Value>,
}

impl Writer {
    pub(crate) fn write(style: u64, of: &Type) -> Value {
        let mut writer = Self { style, written: 0, definitions: Map::new() };
        let mut schema = writer.schema(of);
        if let Value::Object(schema) = &mut schema {
            schema.insert("$defs".to_owned(), Value::Object(writer.definitions));
        }
        schema
    }

    fn chance(&mut self) -> bool {
        self.written += 1;
        self.style.rotate_left(self.written * 7) & 3 == 0
    }

    fn schema(&mut self, of: &Type) -> Value {
        let mut schema = match of {
            Type::Null => json!({ "type": "null" }),
            Type::Boolean => json!({ "type": "boolean" }),
            Type::Integer(least, greatest) => {
                json!({ "type": "integer", "minimum": least, "maximum": greatest })
            }
            Type::Number => json!({ "type": "number" }),
            Type::Text(least, None) => json!({ "type": "string", "minLength": least }),
            Type::Text(least, greatest) => {
                json!({ "type": "string", "minLength": least, "maxLength": greatest })
            }
            Type::Enum(values) if values.len() == 1 && self.chance() => json!({ "const": values[0] }),
            Type::Enum(values) if self.chance() => {
                self.union(values.iter().map(|value| json!({ "const": value })).collect())
            }
            Type::Enum(values) => json!({ "type": "string", "enum": values }),
            Type::Array(of, least, None) => {
                json!({ "type": "array", "items": self.schema(of), "minItems": least })
            }
            Type::Array(of, least, greatest) => {
                json!({ "type": "array", "items": self.schema(of), "minItems": least, "maxItems": greatest })
            }
            Type::Tuple(of) => {
                let items: Vec<_> = of.iter().map(|of| self.schema(of)).collect();
                json!({ "type": "array", "prefixItems": items, "minItems": of.len(), "maxItems": of.len() })
            }
            Type::Object(members) => self.members(members, None),
            Type::Map(of) => json!({ "type": "object", "additionalProperties": self.schema(of) }),
            Type::Tagged(variants) => {
                let tagged = variants.iter().enumerate();
                let schemas = tagged.map(|(at, members)| self.members(members, Some(at))).collect();
                self.union(schemas)
            }
            Type::External(variants) => {
                let schemas = variants.iter().enumerate().map(|(at, of)| {
                    let name = format!("e{at}");
                    json!({
                        "type": "object", "properties": { &name: self.schema(of) }, "required": [name],
                        "additionalProperties": false,
                    })
                });
                let schemas = schemas.collect();
                self.union(schemas)
            }
            Type::Option(of) => {
                let schemas = vec![self.schema(of), json!({ "type": "null" })];
                self.union(schemas)
            }
            Type::OrBoolean(of) => {
                let schemas = vec![self.schema(of), json!({ "type": "boolean" })];
                self.union(schemas)
            }
            Type::Any => json!({}),
        };

        if self.chance() {
            schema["description"] = json!(format!("Text {}.", self.written));
        }
        if self.chance() {
            schema["title"] = json!("Title");
        }
        if self.chance() {
            let name = format!("D{}{}", self.written, self.style & 7);
            let reference = format!("#/$defs/{name}");
            self.definitions.insert(name, schema);
            return json!({ "$ref": reference });
        }
        schema
    }

    /// The order of members does not matter, and neither does the keyword, as they have no value in
    /// common.
    fn union(&mut self, mut schemas: Vec<Value>) -> Value {
        if self.chance() {
            schemas.reverse();
        }
        let keyword = if self.chance() { "anyOf" } else { "oneOf" };
        json!({ keyword: schemas })
    }

    fn members(&mut self, members: &Members, tag: Option<usize>) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        if let Some(tag) = tag {
            properties.insert("kind".to_owned(), json!({ "const": format!("k{tag}") }));
            required.push("kind".to_owned());
        }
        for member in &members.list {
            properties.insert(member.name.clone(), self.schema(&member.of));
            if member.is_required {
                required.push(member.name.clone());
            }
        }
        if self.chance() {
            required.reverse();
        }
        let mut schema = json!({ "type": "object", "properties": properties, "required": required });
        if members.is_closed {
            schema["additionalProperties"] = json!(false);
        }
        schema
    }
}
