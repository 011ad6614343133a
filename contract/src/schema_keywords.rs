//! The keywords of JSON Schema, and the check that a document uses them as they are defined.
//!
//! The check also covers keywords that are not modelled, so that every [`Schema`](crate::Schema)
//! can be written into a document and given to a validator. Keywords that JSON Schema does not
//! define are left alone.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::plain_text;
use crate::schema_fault::SchemaFault;

/// The most schemas in a document.
pub(crate) const NODES_MAX: usize = 20_000;

/// The deepest nesting of arrays and objects in a document. serde_json reads 128 levels, and the
/// document is to be readable as a part of another one, too.
pub(crate) const NESTING_MAX: usize = 96;

/// The values that a keyword has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeywordKind {
    /// A schema.
    Schema,
    /// An array of schemas.
    Schemas,
    /// An object whose members are schemas.
    SchemasByName,
    /// An object whose members are schemas, or arrays of different strings.
    Dependencies,
    /// A reference to a definition.
    Reference,
    Text,
    Number,
    /// A number above zero.
    Factor,
    /// An integer from zero.
    Count,
    Flag,
    /// An array of different strings.
    Names,
    /// An object whose members are arrays of different strings.
    NamesByName,
    /// The name of a type, or an array of different names of types.
    Types,
    /// An array of different values, of which there is at least one.
    Alternatives,
    /// An array.
    Values,
}

/// Returns the values of a keyword; `None` if it is not defined, or has any value.
pub(crate) fn kind_of(keyword: &str) -> Option<KeywordKind> {
    Some(match keyword {
        "items"
        | "additionalItems"
        | "unevaluatedItems"
        | "contains"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "if"
        | "then"
        | "else"
        | "not"
        | "contentSchema" => KeywordKind::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => KeywordKind::Schemas,
        "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => {
            KeywordKind::SchemasByName
        }
        "dependencies" => KeywordKind::Dependencies,
        "$ref" => KeywordKind::Reference,
        "title" | "description" | "$comment" | "$id" | "$schema" | "$anchor" | "$dynamicAnchor"
        | "$dynamicRef" | "format" | "pattern" | "contentMediaType" | "contentEncoding" => KeywordKind::Text,
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => KeywordKind::Number,
        "multipleOf" => KeywordKind::Factor,
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minContains" | "maxContains"
        | "minProperties" | "maxProperties" => KeywordKind::Count,
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => KeywordKind::Flag,
        "required" => KeywordKind::Names,
        "dependentRequired" => KeywordKind::NamesByName,
        "type" => KeywordKind::Types,
        "enum" => KeywordKind::Alternatives,
        "examples" => KeywordKind::Values,
        _ => return None,
    })
}

/// Copies the value of a keyword, with every schema in it replaced. A value that only looks like a
/// schema, such as a default, is copied as it is.
pub(crate) fn map_parts(keyword: &str, value: &Value, replace: &mut impl FnMut(&Value) -> Value) -> Value {
    match (kind_of(keyword), value) {
        (Some(KeywordKind::Schema), schema) => replace(schema),
        (Some(KeywordKind::Schemas), Value::Array(schemas)) => schemas.iter().map(replace).collect(),
        (Some(KeywordKind::SchemasByName | KeywordKind::Dependencies), Value::Object(schemas)) => {
            let copy = |(name, schema): (&String, &Value)| (name.clone(), replace(schema));
            Value::Object(schemas.iter().map(copy).collect())
        }
        _ => value.clone(),
    }
}

/// Returns whether arrays and objects are nested in each other more than `limit` times.
pub(crate) fn is_nested_deeper(value: &Value, limit: usize) -> bool {
    let is_too_deep = |member: &Value| limit == 0 || is_nested_deeper(member, limit - 1);
    match value {
        Value::Array(members) => limit == 0 || members.iter().any(is_too_deep),
        Value::Object(members) => limit == 0 || members.values().any(is_too_deep),
        _ => false,
    }
}

/// Checks every keyword of a document.
pub(crate) fn check(document: &Value) -> Result<(), SchemaFault> {
    if is_nested_deeper(document, NESTING_MAX) {
        return Err(SchemaFault::TooLarge);
    }
    let definitions = document.get("$defs").and_then(Value::as_object);
    Checker { definitions, nodes: 0, path: String::new() }.schema(document)
}

struct Checker<'a> {
    definitions: Option<&'a Map<String, Value>>,
    nodes: usize,

    /// Where the checked value is, as a JSON pointer.
    path: String,
}

impl Checker<'_> {
    fn schema(&mut self, schema: &Value) -> Result<(), SchemaFault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(SchemaFault::TooLarge);
        }

        match schema {
            Value::Bool(_) => Ok(()),
            Value::Object(keywords) => keywords
                .iter()
                .filter_map(|(keyword, value)| Some((keyword, value, kind_of(keyword)?)))
                .try_for_each(|(keyword, value, kind)| {
                    self.at(keyword, |checker| checker.keyword(kind, value))
                }),
            _ => Err(self.fault()),
        }
    }

    fn keyword(&mut self, kind: KeywordKind, value: &Value) -> Result<(), SchemaFault> {
        let is_valid = match kind {
            KeywordKind::Schema => return self.schema(value),
            KeywordKind::Schemas => return self.schemas(value),
            KeywordKind::SchemasByName => return self.by_name(value, Self::schema),
            KeywordKind::Dependencies => return self.by_name(value, Self::dependency),
            KeywordKind::Reference => return self.reference(value),
            KeywordKind::Text => value.is_string(),
            KeywordKind::Number => value.is_number(),
            KeywordKind::Factor => value.as_f64().is_some_and(|factor| factor > 0.0),
            KeywordKind::Count => value.is_u64(),
            KeywordKind::Flag => value.is_boolean(),
            KeywordKind::Names => are_different(value, Value::is_string),
            KeywordKind::NamesByName => value
                .as_object()
                .is_some_and(|lists| lists.values().all(|list| are_different(list, Value::is_string))),
            KeywordKind::Types => is_type(value) || is_some_of(value, is_type),
            KeywordKind::Alternatives => is_some_of(value, |_| true),
            KeywordKind::Values => value.is_array(),
        };
        if is_valid { Ok(()) } else { Err(self.fault()) }
    }

    fn schemas(&mut self, list: &Value) -> Result<(), SchemaFault> {
        let schemas = list.as_array().filter(|schemas| !schemas.is_empty()).ok_or_else(|| self.fault())?;
        let mut numbered = schemas.iter().enumerate();
        numbered
            .try_for_each(|(number, schema)| self.at(&number.to_string(), |checker| checker.schema(schema)))
    }

    fn by_name(
        &mut self,
        object: &Value,
        check: fn(&mut Self, &Value) -> Result<(), SchemaFault>,
    ) -> Result<(), SchemaFault> {
        let mut members = object.as_object().ok_or_else(|| self.fault())?.iter();
        members.try_for_each(|(name, member)| self.at(name, |checker| check(checker, member)))
    }

    fn dependency(&mut self, dependency: &Value) -> Result<(), SchemaFault> {
        if are_different(dependency, Value::is_string) { Ok(()) } else { self.schema(dependency) }
    }

    fn reference(&self, reference: &Value) -> Result<(), SchemaFault> {
        let reference = reference.as_str().ok_or_else(|| self.fault())?;
        // A definition without a name could not be distinguished from the root.
        let is_known = |name: &String| {
            !name.is_empty() && self.definitions.is_some_and(|known| known.contains_key(name))
        };
        if reference == "#" || definition_name(reference).is_some_and(|name| is_known(&name)) {
            return Ok(());
        }
        let reference = plain_text::line(reference);
        Err(SchemaFault::Reference { path: plain_text::line(&self.path), reference })
    }

    fn at(
        &mut self,
        step: &str,
        check: impl FnOnce(&mut Self) -> Result<(), SchemaFault>,
    ) -> Result<(), SchemaFault> {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(&escape(step));
        // The path of a fault is not cut off again, because nothing else is checked after it.
        check(self)?;
        self.path.truncate(length);
        Ok(())
    }

    fn fault(&self) -> SchemaFault {
        SchemaFault::NotASchema { path: plain_text::line(&self.path) }
    }
}

/// Returns the name of the definition that a reference leads to.
pub(crate) fn definition_name(reference: &str) -> Option<String> {
    reference.strip_prefix("#/$defs/").map(unescape)
}

/// Returns a reference to a definition.
pub(crate) fn reference_to(definition: &str) -> String {
    format!("#/$defs/{}", escape(definition))
}

/// Escapes a step of a JSON pointer.
pub(crate) fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// Reads a step of a JSON pointer.
pub(crate) fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

fn is_type(value: &Value) -> bool {
    let names = ["null", "boolean", "integer", "number", "string", "array", "object"];
    value.as_str().is_some_and(|name| names.contains(&name))
}

fn is_some_of(value: &Value, is_valid: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|members| !members.is_empty()) && are_different(value, is_valid)
}

fn are_different(value: &Value, is_valid: impl Fn(&Value) -> bool) -> bool {
    let mut seen = HashSet::new();
    let mut is_new = |member: &Value| seen.insert(member.to_string());
    value.as_array().is_some_and(|members| members.iter().all(|member| is_valid(member) && is_new(member)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rejects_a_keyword_with_a_value_of_a_wrong_kind() {
        for (schema, path) in [
            (json!({ "not": 5 }), "/not"),
            (json!({ "allOf": [] }), "/allOf"),
            (json!({ "anyOf": [true, "a"] }), "/anyOf/1"),
            (json!({ "patternProperties": { "a/b": [] } }), "/patternProperties/a~1b"),
            (json!({ "title": 1 }), "/title"),
            (json!({ "minimum": "0" }), "/minimum"),
            (json!({ "multipleOf": 0 }), "/multipleOf"),
            (json!({ "minLength": -1 }), "/minLength"),
            (json!({ "uniqueItems": "yes" }), "/uniqueItems"),
            (json!({ "required": ["a", "a"] }), "/required"),
            (json!({ "dependentRequired": { "a": "b" } }), "/dependentRequired"),
            (json!({ "dependencies": { "a": ["b"], "c": { "not": [] } } }), "/dependencies/c/not"),
            (json!({ "type": "uint" }), "/type"),
            (json!({ "type": ["null", "null"] }), "/type"),
            (json!({ "enum": [] }), "/enum"),
            (json!({ "examples": {} }), "/examples"),
        ] {
            let fault = check(&schema).unwrap_err();
            assert!(matches!(&fault, SchemaFault::NotASchema { path: at } if at == path), "{fault}");
        }
    }

    #[test]
    fn rejects_references_out_of_the_document_in_every_place() {
        for reference in ["http://localhost/", "#/$defs/b", "#/properties/a", "other.json#/$defs/a"] {
            let schema = json!({ "$defs": { "a": true }, "allOf": [{ "not": { "$ref": reference } }] });
            let fault = check(&schema).unwrap_err();
            assert!(matches!(fault, SchemaFault::Reference { .. }), "{fault}");
        }
        assert!(check(&json!({ "$defs": { "a/~": true }, "not": { "$ref": "#/$defs/a~1~0" } })).is_ok());
    }

    #[test]
    fn takes_data_and_unknown_keywords_as_they_are() {
        let schema = json!({
            "const": { "$ref": "http://localhost/" }, "default": { "type": 1 }, "x-own": { "not": 1 },
            "enum": [{ "$ref": 1 }], "properties": { "$ref": true, "type": {} },
        });
        assert!(check(&schema).is_ok(), "{:?}", check(&schema));
    }

    #[test]
    fn rejects_documents_that_are_too_deep_or_too_large() {
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(check(&json!({ "default": nested(NESTING_MAX - 1) })).is_ok());
        let deep = check(&json!({ "default": nested(NESTING_MAX) }));
        assert!(matches!(deep, Err(SchemaFault::TooLarge)), "{deep:?}");

        let wide = check(&json!({ "allOf": vec![true; NODES_MAX] }));
        assert!(matches!(wide, Err(SchemaFault::TooLarge)), "{wide:?}");
    }
}
