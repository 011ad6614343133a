//! Copies of schemas with other references.

use serde_json::Value;

use crate::schema_keywords::{KeywordKind, kind_of, map_parts};

/// Keywords that would change the meaning of references, and the definitions, which have a place of
/// their own. None of them says which values are admitted.
const LEFT_OUT: &[&str] = &["$id", "$schema", "$defs"];

/// Copies a schema and replaces every reference in it. Values that only look like schemas, such as
/// the default of a member, are copied as they are.
pub(super) fn map_references(schema: &Value, replace: &mut dyn FnMut(&str) -> String) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let kept = keywords.iter().filter(|(keyword, _)| !LEFT_OUT.contains(&keyword.as_str()));
    let copy = |(keyword, value): (&String, &Value)| {
        let value = match (kind_of(keyword), value) {
            (Some(KeywordKind::Reference), Value::String(reference)) => replace(reference).into(),
            _ => map_parts(keyword, value, &mut |schema| map_references(schema, &mut *replace)),
        };
        (keyword.clone(), value)
    };
    Value::Object(kept.map(copy).collect())
}
