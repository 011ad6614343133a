//! Copies of schemas with other references.

use serde_json::{Map, Value};

use crate::schema_keywords::{KeywordKind, kind_of};

/// Keywords that would change the meaning of references, and the definitions, which have a place of
/// their own. None of them says which values are admitted.
const LEFT_OUT: &[&str] = &["$id", "$schema", "$defs"];

/// Copies a schema and replaces every reference in it. Values that only look like schemas, such as
/// the default of a member, are copied as they are.
pub(super) fn map_references(schema: &Value, replace: &mut impl FnMut(&str) -> String) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let kept = keywords.iter().filter(|(keyword, _)| !LEFT_OUT.contains(&keyword.as_str()));
    let copy = |(keyword, value): (&String, &Value)| (keyword.clone(), mapped(keyword, value, replace));
    Value::Object(kept.map(copy).collect())
}

fn mapped(keyword: &str, value: &Value, replace: &mut impl FnMut(&str) -> String) -> Value {
    match (kind_of(keyword), value) {
        (Some(KeywordKind::Reference), Value::String(reference)) => replace(reference).into(),
        (Some(KeywordKind::Schema), schema) => map_references(schema, replace),
        (Some(KeywordKind::Schemas), Value::Array(schemas)) => {
            schemas.iter().map(|schema| map_references(schema, replace)).collect()
        }
        (Some(KeywordKind::SchemasByName | KeywordKind::Dependencies), Value::Object(schemas)) => {
            let copy = |(name, schema): (&String, &Value)| (name.clone(), map_references(schema, replace));
            Value::Object(schemas.iter().map(copy).collect::<Map<_, _>>())
        }
        _ => value.clone(),
    }
}
