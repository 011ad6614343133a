//! The keywords of JSON Schema: which are modelled, and how the bounds of plain types are read.

use serde_json::{Map, Value};

use crate::schema::{IntegerShape, NumberShape, TextShape};
use crate::schema_keywords::map_parts;

/// The media type of opaque bytes.
pub(crate) const BYTES: &str = "application/octet-stream";

/// Keywords that say nothing about which values are admitted.
const REMARKS: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "title",
    "description",
    "deprecated",
    "default",
    "examples",
    "readOnly",
    "writeOnly",
    "format",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
];

/// Keywords that are modelled and concern no single type.
const GENERAL: &[&str] =
    &["type", "const", "enum", "$ref", "anyOf", "oneOf", "allOf", "unevaluatedProperties"];

/// Keywords that are modelled and concern the values of one type.
pub(crate) const TYPED: &[&str] = &[
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "prefixItems",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
];

/// Returns whether the keyword is modelled or admits everything.
pub(crate) fn is_known(keyword: &str) -> bool {
    is_remark(keyword) || GENERAL.contains(&keyword) || TYPED.contains(&keyword)
}

fn is_remark(keyword: &str) -> bool {
    REMARKS.contains(&keyword) || keyword.starts_with("x-")
}

/// Returns a copy of a schema with nothing but what decides about its values.
pub(crate) fn without_remarks(schema: &Value) -> Value {
    let Value::Object(object) = schema else { return schema.clone() };
    let kept = object.iter().filter(|(keyword, _)| !is_remark(keyword));
    let plain = |(keyword, value): (&String, &Value)| {
        (keyword.clone(), map_parts(keyword, value, &mut without_remarks))
    };
    Value::Object(kept.map(plain).collect())
}

/// Returns whether a value has one of the types that the keyword `type` names.
pub(crate) fn has_type(value: &Value, names: Option<&Value>) -> bool {
    let is = |name: &str| match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => {
            let is_whole = number.as_f64().is_some_and(|number| number.fract() == 0.0);
            name == "number" || (name == "integer" && is_whole)
        }
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    };
    match names {
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

/// Reads the bounds of an integer.
pub(crate) fn integer(object: &Map<String, Value>) -> IntegerShape {
    let bound = |keyword: &str, round: fn(f64) -> f64| {
        let bound = object.get(keyword)?;
        let whole = bound.as_i64().map(i128::from).or_else(|| bound.as_u64().map(i128::from));
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        whole.or_else(|| bound.as_f64().map(|bound| round(bound) as i128))
    };
    IntegerShape {
        minimum: bound("minimum", f64::ceil),
        maximum: bound("maximum", f64::floor),
        format: format(object),
    }
}

/// Reads the bounds of a number.
pub(crate) fn number(object: &Map<String, Value>) -> NumberShape {
    let bound = |keyword: &str| object.get(keyword).and_then(Value::as_f64);
    NumberShape { minimum: bound("minimum"), maximum: bound("maximum"), format: format(object) }
}

/// Reads the bounds of a string.
pub(crate) fn text(object: &Map<String, Value>) -> TextShape {
    let (min_length, max_length) = lengths(object, "minLength", "maxLength");
    let pattern = object.get("pattern").and_then(Value::as_str).map(str::to_owned);
    TextShape { min_length, max_length, pattern, format: format(object) }
}

/// Reads two lengths.
pub(crate) fn lengths(
    object: &Map<String, Value>,
    least: &str,
    greatest: &str,
) -> (Option<u64>, Option<u64>) {
    let length = |keyword: &str| object.get(keyword).and_then(Value::as_u64);
    (length(least), length(greatest))
}

fn format(object: &Map<String, Value>) -> Option<String> {
    object.get("format").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema_keywords::kind_of;

    #[test]
    fn models_only_keywords_whose_values_are_checked() {
        let modelled = GENERAL.iter().chain(TYPED);
        let unchecked: Vec<_> = modelled.filter(|keyword| kind_of(keyword).is_none()).collect();
        assert_eq!(unchecked, [&"const"], "any value is valid for these alone");
    }
}
