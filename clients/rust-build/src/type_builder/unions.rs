//! Unions: which enum of serde a schema describes.

use std::cmp::Reverse;

use jackfield_contract::{Node, ObjectShape, Shape};

use crate::model::{Built, Docs, Item, Tagging, Type, Variant};
use crate::names::{self, NameScope};
use crate::schema_index::SchemaIndex;

use super::TypeBuilder;
use super::scalars::{docs_of, text_variants};

impl TypeBuilder {
    /// Builds the type of a union without its `null`.
    pub(super) fn union(&mut self, index: &SchemaIndex<'_>, members: &[&Node], name: &str) -> Built {
        match members {
            [] => Built::Inline(Type::Unit),
            [member] => self.build(index, member, name),
            _ => external(self, index, members, name)
                .or_else(|| internal(self, index, members, name))
                .unwrap_or_else(|| untagged(self, index, members, name)),
        }
    }
}

/// Builds the default enum of serde: each variant is a string, or an object with one member.
fn external(
    builder: &mut TypeBuilder,
    index: &SchemaIndex<'_>,
    members: &[&Node],
    name: &str,
) -> Option<Built> {
    let found = external_members(members)?;
    if has_duplicates(found.iter().map(|(tag, ..)| tag.as_str())) {
        return None;
    }

    let mut scope = NameScope::with(&["Self"]);
    let variants = found.into_iter().map(|(tag, docs, content)| {
        let variant = scope.take(&names::pascal_case(&tag, "Value"), "");
        let hint = format!("{name}{variant}");
        let content = content.map(|content| builder.type_of(index, content, &hint));
        Variant { name: tag, variant, docs, content }
    });
    Some(Built::Item(Item::Union(Tagging::External, variants.collect())))
}

/// Returns the name of each variant of a default enum of serde, its description and its content;
/// `None` if one of the members is no such variant.
fn external_members<'a>(members: &[&'a Node]) -> Option<Vec<(String, Docs, Option<&'a Node>)>> {
    let mut found = Vec::new();
    for member in members {
        match &member.shape {
            Shape::Literals(literals) => {
                let texts = text_variants(literals)?;
                found.extend(texts.into_iter().map(|text| (text.name, text.docs, None)));
            }
            Shape::Object(object) => {
                let [property] = &*object.properties else { return None };
                if !property.is_required || object.additional.shape != Shape::Never {
                    return None;
                }
                found.push((property.name.clone(), docs_of(member), Some(&property.node)));
            }
            _ => return None,
        }
    }
    Some(found)
}

/// Builds an enum whose variants are objects that a member with a fixed value distinguishes.
fn internal(
    builder: &mut TypeBuilder,
    index: &SchemaIndex<'_>,
    members: &[&Node],
    name: &str,
) -> Option<Built> {
    let mut objects: Vec<(&Node, &ObjectShape)> = Vec::new();
    for member in members {
        let Shape::Object(object) = &index.resolve(member).shape else { return None };
        objects.push((member, object));
    }

    let (_, first) = objects.first()?;
    let tags_of = |tag: &str| -> Option<Vec<String>> {
        objects.iter().map(|(_, object)| tag_value(object, tag)).collect()
    };
    let (tag, values) = first.properties.iter().find_map(|property| {
        let values = tags_of(&property.name)?;
        (!has_duplicates(values.iter().map(String::as_str))).then_some((&property.name, values))
    })?;

    let mut scope = NameScope::with(&["Self"]);
    let variants = objects.into_iter().zip(values).map(|((member, object), value)| {
        let variant = scope.take(&names::pascal_case(&value, "Value"), "");
        let content = builder.variant_object(index, object, &format!("{name}{variant}"), tag);
        Variant { name: value, variant, docs: docs_of(member), content }
    });
    Some(Built::Item(Item::Union(Tagging::Internal(tag.clone()), variants.collect())))
}

/// Returns the only value that the member admits, if it is a string and the member is required.
fn tag_value(object: &ObjectShape, tag: &str) -> Option<String> {
    let property = object.properties.iter().find(|property| property.name == tag && property.is_required)?;
    let Shape::Literals(literals) = &property.node.shape else { return None };
    let [literal] = &**literals else { return None };
    literal.value.as_str().map(str::to_owned)
}

/// Builds an enum whose variants are distinguished by their types, or a plain type if those are
/// equal.
fn untagged(builder: &mut TypeBuilder, index: &SchemaIndex<'_>, members: &[&Node], name: &str) -> Built {
    let mut found: Vec<(Type, Docs)> = Vec::new();
    for member in members {
        let hint = format!("{name}{}", kind_of(&member.shape));
        let ty = builder.type_of(index, member, &hint);
        match ty {
            Type::Value => return Built::Inline(Type::Value),
            _ if found.iter().any(|(known, _)| *known == ty) => {}
            _ => found.push((ty, docs_of(member))),
        }
    }
    if let [(only, _)] = &*found {
        return Built::Inline(only.clone());
    }

    // The first type that fits a value is taken: those that admit fewer values come first.
    found.sort_by_key(|(ty, _)| rank(builder, ty));
    let mut scope = NameScope::with(&["Self"]);
    let variants = found.into_iter().map(|(ty, docs)| {
        let variant = scope.take(&variant_name(builder, &ty, name), "");
        Variant { name: String::new(), variant, docs, content: Some(ty) }
    });
    Built::Item(Item::Union(Tagging::Untagged, variants.collect()))
}

/// Returns the order in which the types of an untagged union are tried: an integer is a number, an
/// object with more required members may also fit a struct with fewer.
fn rank(builder: &TypeBuilder, ty: &Type) -> (u8, Reverse<usize>) {
    let required = match builder.item_of(ty) {
        Some(Item::Struct(item)) => item.fields.iter().filter(|field| field.is_required).count(),
        _ => 0,
    };
    let rank = match ty {
        Type::Optional(inner) => return rank(builder, inner),
        Type::Integer(_) => 0,
        Type::Float(_) => 1,
        Type::Text | Type::Dictionary(_) | Type::List(_) => 2,
        Type::Map => 3,
        _ => 0,
    };
    (rank, Reverse(required))
}

/// Returns the name of a variant: that of its type, without the name of the union.
fn variant_name(builder: &TypeBuilder, ty: &Type, union: &str) -> String {
    if let Some(name) = builder.name_of(ty) {
        let rest = name.strip_prefix(union).unwrap_or(name);
        let is_name = rest.starts_with(|first: char| first.is_ascii_uppercase());
        return if is_name { rest } else { name }.to_owned();
    }
    let kind = match ty {
        Type::Optional(inner) => return variant_name(builder, inner, union),
        Type::Unit => "Null",
        Type::Bool => "Boolean",
        Type::Integer(_) => "Integer",
        Type::Float(_) => "Number",
        Type::Text => "Text",
        Type::List(_) | Type::FixedList(..) => "List",
        Type::Tuple(_) => "Tuple",
        Type::Map | Type::Dictionary(_) => "Object",
        Type::Value | Type::Named(_) => "Value",
    };
    kind.to_owned()
}

/// Returns the part of a name that stands for a kind of values.
fn kind_of(shape: &Shape) -> &'static str {
    match shape {
        Shape::Object(_) => "Object",
        Shape::Array(_) => "List",
        Shape::Literals(_) => "Literal",
        _ => "Variant",
    }
}

fn has_duplicates<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let mut names = names;
    !names.all(|name| seen.insert(name))
}
