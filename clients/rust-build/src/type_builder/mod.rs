//! From schemas to the types of a module.

mod scalars;
mod unions;

use std::collections::HashMap;

use jackfield_contract::{ArrayShape, Node, ObjectShape, Schema, Shape};

use self::scalars::{docs_of, has_null, integer_type, literals_type};
use crate::model::{Built, Docs, Field, Item, NamedType, StructItem, Type, TypeId};
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
            let Some(node) = index.node(name).filter(|_| !index.is_cyclic(name)) else {
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

    /// Builds an object, without the member that distinguishes the variants of its union.
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
