//! Schemas that have no parts: enumerations and integers, and what is said about any schema.

use jackfield_contract::{IntegerShape, Literal, Node, Shape};

use crate::model::{Built, Docs, Item, Type, Variant};
use crate::names::{self, NameScope};

/// Returns what the schema says about a type or a member.
pub(super) fn docs_of(node: &Node) -> Docs {
    Docs {
        description: node.description.clone(),
        deprecated: node.deprecated,
        default: node.default.as_ref().map(ToString::to_string),
    }
}

/// Returns whether a schema admits `null` besides other values.
pub(super) fn has_null(node: &Node) -> bool {
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
pub(super) fn text_variants(literals: &[Literal]) -> Option<Vec<Variant>> {
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

pub(super) fn literals_type(literals: &[Literal]) -> Built {
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
pub(super) fn integer_type(integer: &IntegerShape) -> &'static str {
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
