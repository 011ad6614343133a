//! From schemas to the types of a module.

mod unions;

use std::collections::HashMap;

use jackfield_contract::{ArrayShape, IntegerShape, Literal, Node, ObjectShape, Schema, Shape};

use crate::model::{Docs, Field, Item, NamedType, StructItem, Type, TypeId, Variant};
use crate::names::{self, NameScope};
use crate::schema_index::SchemaIndex;

/// The deepest nesting of types; values that are nested deeper are any JSON value. The compiler
/// follows types through at most 128 levels, of which each has two here, and futures add more.
const MAX_DEPTH: usize = 32;
/// The longest tuple for which the standard library has all traits.
const MAX_TUPLE: usize = 12;
/// The longest array that serde reads.
const MAX_FIXED_LIST: u64 = 32;

/// Collects the types of a module. Equal definitions of several methods are one type.
#[derive(Debug)]
pub(crate) struct TypeBuilder {
    names: NameScope,
    /// A type without an item is not finished, or not needed.
    types: Vec<Draft>,
    known: HashMap<u64, Type>,
    depth: usize,
}

#[derive(Debug)]
struct Draft {
    name: String,
    docs: Docs,
    item: Option<Item>,
}

/// The outcome for a schema: a type that needs a name, or one that exists.
enum Built {
    Item(Item),
    Inline(Type),
}

impl TypeBuilder {
    pub(crate) fn new() -> Self {
        Self { names: NameScope::of_types(), types: Vec::new(), known: HashMap::new(), depth: 0 }
    }

    /// Returns the type of a schema, which is called `fallback` if it has no title.
    pub(crate) fn type_of_schema(&mut self, schema: &Schema, fallback: &str) -> Type {
        let root_name = schema.root.title.as_deref().unwrap_or(fallback);
        let index = SchemaIndex::new(schema, root_name);
        self.definition(&index, "")
    }

    /// Returns the finished types, with their ids.
    pub(crate) fn finish(self) -> Vec<(TypeId, NamedType)> {
        let drafts = self.types.into_iter().enumerate();
        let finished = drafts.filter_map(|(id, draft)| {
            let Draft { name, docs, item } = draft;
            Some((id, NamedType { name, docs, item: item?, is_sent: false, is_received: false }))
        });
        finished.collect()
    }

    /// Returns the type of a part of a schema, which is called `hint` if it has no title.
    fn type_of(&mut self, index: &SchemaIndex<'_>, node: &Node, hint: &str) -> Type {
        if let Shape::Reference(name) = &node.shape {
            return self.definition(index, name);
        }
        let name = node.title.as_deref().unwrap_or(hint);
        self.named_or_inline(index, node, name, None)
    }

    /// Returns the name of a type, if it is one of this module.
    fn name_of(&self, ty: &Type) -> Option<&str> {
        let Type::Named(id) = ty else { return None };
        self.types.get(*id).map(|draft| draft.name.as_str())
    }

    /// Returns the item of a type, if it has one and is finished.
    fn item_of(&self, ty: &Type) -> Option<&Item> {
        let Type::Named(id) = ty else { return None };
        self.types.get(*id)?.item.as_ref()
    }

    fn definition(&mut self, index: &SchemaIndex<'_>, name: &str) -> Type {
        let mut name = name;
        let node = loop {
            let Some(node) = index.node(name).filter(|_| !index.is_circular(name)) else {
                return Type::Value;
            };
            match &node.shape {
                Shape::Reference(target) => name = target,
                _ => break node,
            }
        };

        let key = index.key(name);
        if let Some(ty) = self.known.get(&key) {
            return ty.clone();
        }
        self.named_or_inline(index, node, &index.display_name(name), Some((key, index.is_recursive(name))))
    }

    /// Builds a type under its name, and releases the name if the type needs none.
    fn named_or_inline(
        &mut self,
        index: &SchemaIndex<'_>,
        node: &Node,
        name: &str,
        definition: Option<(u64, bool)>,
    ) -> Type {
        if self.depth >= MAX_DEPTH {
            return Type::Value;
        }
        let is_nullable = has_null(node);
        let or_null = |ty: Type| if is_nullable { ty.or_null() } else { ty };

        // Later parts refer to this type before it is finished, if it contains itself.
        let id = self.types.len();
        let name = self.names.take(&names::pascal_case(name, "Value"), "");
        // A default, and for a part of a type its deprecation, belong to the member.
        let deprecated = node.deprecated && definition.is_some();
        let docs = Docs { description: node.description.clone(), deprecated, default: None };
        self.types.push(Draft { name: name.clone(), docs, item: None });
        if let Some((key, true)) = definition {
            self.known.insert(key, or_null(Type::Named(id)));
        }

        self.depth += 1;
        let built = self.build(index, node, &name);
        self.depth -= 1;

        let is_recursive = definition.is_some_and(|(_, is_recursive)| is_recursive);
        let (item, ty) = match built {
            Built::Item(item) => (Some(item), Type::Named(id)),
            Built::Inline(ty) if is_recursive => (Some(Item::Newtype(ty)), Type::Named(id)),
            Built::Inline(ty) => (None, ty),
        };
        if item.is_none() {
            self.names.release(&name);
        }
        if let Some(draft) = self.types.get_mut(id) {
            draft.item = item;
        }

        let ty = or_null(ty);
        if let Some((key, _)) = definition {
            self.known.insert(key, ty.clone());
        }
        ty
    }

    /// Builds the type of the values other than `null`.
    fn build(&mut self, index: &SchemaIndex<'_>, node: &Node, name: &str) -> Built {
        match &node.shape {
            Shape::Null => Built::Inline(Type::Unit),
            Shape::Boolean => Built::Inline(Type::Bool),
            Shape::Integer(integer) => Built::Inline(Type::Integer(integer_type(integer))),
            Shape::Number(number) if number.format.as_deref() == Some("float") => {
                Built::Inline(Type::Float("f32"))
            }
            Shape::Number(_) => Built::Inline(Type::Float("f64")),
            Shape::Text(_) => Built::Inline(Type::Text),
            Shape::Array(array) => Built::Inline(self.array(index, array, name)),
            Shape::Object(object) => self.object(index, object, name, None),
            Shape::Literals(literals) => literals_type(literals),
            Shape::Union(members) => {
                let members: Vec<&Node> =
                    members.iter().filter(|member| member.shape != Shape::Null).collect();
                self.union(index, &members, name)
            }
            Shape::Reference(target) => Built::Inline(self.definition(index, target)),
            Shape::Any | Shape::Never | Shape::Bytes | Shape::Opaque => Built::Inline(Type::Value),
        }
    }

    fn array(&mut self, index: &SchemaIndex<'_>, array: &ArrayShape, name: &str) -> Type {
        let ArrayShape { prefix, items, min_items, max_items, .. } = array;
        if prefix.is_empty() {
            let items = Box::new(self.type_of(index, items, &format!("{name}Item")));
            return match (min_items, max_items) {
                (Some(min), Some(max)) if min == max && (1..=MAX_FIXED_LIST).contains(min) => {
                    Type::FixedList(items, *min)
                }
                _ => Type::List(items),
            };
        }

        let length = prefix.len() as u64;
        let is_closed = items.shape == Shape::Never || *max_items == Some(length);
        if !is_closed || *min_items != Some(length) || prefix.len() > MAX_TUPLE {
            return Type::List(Box::new(Type::Value));
        }
        let members = prefix.iter().zip(1..);
        Type::Tuple(members.map(|(item, n)| self.type_of(index, item, &format!("{name}Item{n}"))).collect())
    }

    /// Builds an object, without the member that tells the variants of its union apart.
    fn object(
        &mut self,
        index: &SchemaIndex<'_>,
        object: &ObjectShape,
        name: &str,
        tag: Option<&str>,
    ) -> Built {
        let additional = match &object.additional.shape {
            Shape::Never => None,
            Shape::Any if object.properties.is_empty() => return Built::Inline(Type::Map),
            Shape::Any | Shape::Opaque => None,
            _ => Some(self.type_of(index, &object.additional, &format!("{name}Value"))),
        };
        if let (true, Some(values)) = (object.properties.is_empty(), &additional) {
            return Built::Inline(Type::Dictionary(Box::new(values.clone())));
        }

        let mut names = NameScope::default();
        let mut fields: Vec<Field> = Vec::new();
        for property in &object.properties {
            let is_repeated = fields.iter().any(|field| field.name == property.name);
            if is_repeated || tag == Some(&property.name) {
                continue;
            }
            let hint = format!("{name}{}", names::pascal_case(&property.name, "Member"));
            let ty = self.type_of(index, &property.node, &hint);
            fields.push(Field {
                name: property.name.clone(),
                field: names.take(&names::snake_case(&property.name, "member"), "_"),
                docs: docs_of(&property.node),
                is_required: property.is_required,
                ty: if property.is_required { ty } else { ty.or_missing() },
            });
        }
        Built::Item(Item::Struct(StructItem { fields, additional }))
    }

    /// Adds the type of an object that is a variant of a tagged union; `None` if it has no other
    /// members than the tag.
    fn variant_object(
        &mut self,
        index: &SchemaIndex<'_>,
        object: &ObjectShape,
        name: &str,
        tag: &str,
    ) -> Option<Type> {
        let id = self.types.len();
        let name = self.names.take(name, "");
        self.types.push(Draft { name: name.clone(), docs: Docs::default(), item: None });

        match self.object(index, object, &name, Some(tag)) {
            Built::Item(Item::Struct(item)) if !item.fields.is_empty() || item.additional.is_some() => {
                self.types.get_mut(id)?.item = Some(Item::Struct(item));
                Some(Type::Named(id))
            }
            _ => {
                self.names.release(&name);
                None
            }
        }
    }
}

/// Returns what the schema says about a type or a member.
fn docs_of(node: &Node) -> Docs {
    Docs {
        description: node.description.clone(),
        deprecated: node.deprecated,
        default: node.default.as_ref().map(ToString::to_string),
    }
}

fn has_null(node: &Node) -> bool {
    match &node.shape {
        Shape::Union(members) => {
            members.iter().any(|member| member.shape == Shape::Null || has_null_literal(&member.shape))
        }
        shape => has_null_literal(shape),
    }
}

fn has_null_literal(shape: &Shape) -> bool {
    let Shape::Literals(literals) = shape else { return false };
    literals.iter().any(|literal| literal.value.is_null())
}

/// Returns the variants of an enumeration of strings; `null` is ignored. `None` if other values are
/// among them.
fn text_variants(literals: &[Literal]) -> Option<Vec<Variant>> {
    let mut names = NameScope::with(&["Self"]);
    let mut variants: Vec<Variant> = Vec::new();

    for literal in literals.iter().filter(|literal| !literal.value.is_null()) {
        let name = literal.value.as_str()?;
        if variants.iter().any(|variant| variant.name == name) {
            continue;
        }
        let fallback = if name.is_empty() { "Empty" } else { "Value" };
        variants.push(Variant {
            name: name.to_owned(),
            variant: names.take(&names::pascal_case(name, fallback), ""),
            docs: Docs { description: literal.description.clone(), ..Docs::default() },
            content: None,
        });
    }
    Some(variants)
}

fn literals_type(literals: &[Literal]) -> Built {
    let values = || literals.iter().map(|literal| &literal.value).filter(|value| !value.is_null());
    if values().next().is_none() {
        return Built::Inline(Type::Unit);
    }
    if let Some(variants) = text_variants(literals) {
        return Built::Item(Item::TextEnum(variants));
    }

    Built::Inline(if values().all(|value| value.is_boolean()) {
        Type::Bool
    } else if values().all(|value| value.is_u64()) {
        Type::Integer("u64")
    } else if values().all(|value| value.is_i64()) {
        Type::Integer("i64")
    } else if values().all(|value| value.is_number()) {
        Type::Float("f64")
    } else {
        Type::Value
    })
}

/// Returns the type that the format names, if it holds the range, or else the smallest one of 64 or
/// 128 bits that does.
fn integer_type(integer: &IntegerShape) -> &'static str {
    const FORMATS: [(&str, &str, i128, i128); 10] = [
        ("int8", "i8", i8::MIN as i128, i8::MAX as i128),
        ("int16", "i16", i16::MIN as i128, i16::MAX as i128),
        ("int32", "i32", i32::MIN as i128, i32::MAX as i128),
        ("int64", "i64", i64::MIN as i128, i64::MAX as i128),
        ("int", "i64", i64::MIN as i128, i64::MAX as i128),
        ("uint8", "u8", 0, u8::MAX as i128),
        ("uint16", "u16", 0, u16::MAX as i128),
        ("uint32", "u32", 0, u32::MAX as i128),
        ("uint64", "u64", 0, u64::MAX as i128),
        ("uint", "u64", 0, u64::MAX as i128),
    ];
    let IntegerShape { minimum, maximum, format } = integer;
    let holds = |least, most| minimum.is_none_or(|it| least <= it) && maximum.is_none_or(|it| it <= most);

    let formats = FORMATS.iter().filter(|(name, ..)| format.as_deref() == Some(name));
    if let Some((_, ty, ..)) = formats.into_iter().find(|(.., least, most)| holds(*least, *most)) {
        return ty;
    }
    match format.as_deref() {
        Some("uint128") if minimum.is_some_and(|minimum| minimum >= 0) => "u128",
        Some("int128") => "i128",
        _ if minimum.is_some_and(|minimum| minimum >= 0) && holds(0, u64::MAX.into()) => "u64",
        _ if holds(i64::MIN.into(), i64::MAX.into()) => "i64",
        _ if minimum.is_some_and(|minimum| minimum >= 0) => "u128",
        _ => "i128",
    }
}
