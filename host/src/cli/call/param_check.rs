//! Checks params against the schema of a method, and says which part of them is wrong.

use jackfield::log::Counted;
use jackfield_contract::{Contract, Parameters};
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::paths::{Location, LocationSegment};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::cli::shown_text::{json_line, shown_line};

/// Upper bound for the faults that are reported.
const MAX_FAULTS: usize = 20;

/// The most values of an enumeration that a fault lists.
const MAX_VALUES: usize = 20;

/// A fault of params, such as `params.status: must be "online" or "offline"`.
type Fault = String;

/// Returns what is wrong with the params of a call. Nothing is if that is not known: the method is
/// not listed, its params are not described, or the schema cannot be used.
pub(super) fn faults(contract: &Contract, method: &str, params: Option<&RawValue>) -> Vec<Fault> {
    let Some(Parameters::Schema(schema)) = contract.method(method).map(|method| &method.params) else {
        return Vec::new();
    };
    let Ok(validator) = jsonschema::validator_for(&schema.document) else { return Vec::new() };
    let document = params.map_or("null", RawValue::get);
    let Ok(value) = serde_json::from_str::<Value>(document) else { return Vec::new() };

    // A plugin reads missing params and an empty array as an empty object if they do not fit.
    let empty = Value::Object(Map::new());
    let is_empty_array = value.as_array().is_some_and(Vec::is_empty);
    if (value.is_null() || is_empty_array) && validator.is_valid(&empty) {
        return Vec::new();
    }

    let mut faults = Vec::new();
    for error in validator.iter_errors(&value).take(MAX_FAULTS) {
        add(&error, &mut faults);
    }
    if params.is_none() && !faults.is_empty() {
        faults = vec!["params: are missing".to_owned()];
        let errors = validator.iter_errors(&empty).take(MAX_FAULTS);
        let required = errors.filter(|error| matches!(error.kind(), Kind::Required { .. }));
        required.for_each(|error| add(&error, &mut faults));
    }

    faults.dedup();
    faults.truncate(MAX_FAULTS);
    faults
}

fn add(error: &ValidationError<'_>, faults: &mut Vec<Fault>) {
    let path = path_of(error.instance_path());
    let change = match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().map_or_else(|| property.to_string(), str::to_owned);
            return faults.push(format!("{path}.{}: is required", shown_line(&name)));
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let unexpected =
                unexpected.iter().map(|name| format!("{path}.{}: no such member", shown_line(name)));
            return faults.extend(unexpected);
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => return add_best(error, context, faults),
        kind => requirement(kind).unwrap_or_else(|| shown_line(&error.masked_with("the value").to_string())),
    };
    faults.push(format!("{path}: {change}"));
}

/// Returns what a value must be, as a clause.
fn requirement(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Type { kind } => format!("must be {}", types(kind)),
        Kind::Enum { options } => match &**options {
            Value::Array(values) => must_be(values),
            _ => return None,
        },
        Kind::Constant { expected_value } => must_be(std::slice::from_ref(&**expected_value)),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::MinLength { limit } => format!("must have at least {}", Counted(*limit, "character")),
        Kind::MaxLength { limit } => format!("must have at most {}", Counted(*limit, "character")),
        Kind::MinItems { limit } => format!("must have at least {}", Counted(*limit, "item")),
        Kind::MaxItems { limit } => format!("must have at most {}", Counted(*limit, "item")),
        Kind::UniqueItems => "must not have the same item twice".to_owned(),
        Kind::Pattern { pattern } => format!("must match {}", shown_line(pattern)),
        _ => return None,
    })
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(name) => name.to_string(),
        TypeKind::Multiple(names) => {
            names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" or ")
        }
    }
}

fn must_be(values: &[Value]) -> String {
    let shown: Vec<_> = values.iter().take(MAX_VALUES).map(json_line).collect();
    let more = if values.len() > MAX_VALUES { ", or another value" } else { "" };
    format!("must be {}{more}", shown.join(" or "))
}

/// Adds the faults of the alternative that was probably meant: the only one of the type of the
/// value and with its tag. If there is none, says which values there are.
fn add_best(
    error: &ValidationError<'_>,
    alternatives: &[Vec<ValidationError<'static>>],
    faults: &mut Vec<Fault>,
) {
    let here = error.instance_path();
    let is_of_type = |errors: &&Vec<ValidationError<'_>>| {
        !errors.iter().any(|error| error.instance_path() == here && is_other_value(error.kind()))
    };
    let has_tag = |errors: &&Vec<ValidationError<'_>>| {
        !errors.iter().any(|error| matches!(error.kind(), Kind::Constant { .. }))
    };

    let of_type: Vec<_> = alternatives.iter().filter(is_of_type).collect();
    let with_tag: Vec<_> = of_type.iter().copied().filter(|errors| has_tag(errors)).collect();
    for meant in [of_type, with_tag] {
        if let [errors] = meant[..] {
            return errors.iter().for_each(|error| add(error, faults));
        }
    }

    let path = path_of(here);
    let mut values: Vec<_> =
        alternatives.iter().flatten().filter_map(|error| requirement_here(error, here)).collect();
    let is_whole = values.len() == alternatives.len();
    values.dedup();
    let clause = if is_whole {
        format!("must be {}", values.join(" or "))
    } else {
        "fits none of the alternatives".to_owned()
    };
    faults.push(format!("{path}: {clause}"));
}

/// Returns whether the value as a whole is another one, not a part of it.
fn is_other_value(kind: &Kind) -> bool {
    matches!(kind, Kind::Type { .. } | Kind::Constant { .. } | Kind::Enum { .. })
}

/// Returns what an alternative requires of the value as a whole, without `must be`.
fn requirement_here(error: &ValidationError<'_>, here: &Location) -> Option<String> {
    let is_here = error.instance_path() == here && is_other_value(error.kind());
    let clause = requirement(error.kind()).filter(|_| is_here)?;
    clause.strip_prefix("must be ").map(str::to_owned)
}

fn path_of(location: &Location) -> String {
    let mut path = "params".to_owned();
    for segment in location {
        match segment {
            LocationSegment::Property(name) => path += &format!(".{}", shown_line(&name)),
            LocationSegment::Index(index) => path += &format!("[{index}]"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use jackfield_contract::{MethodContract, Schema};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: Value, params: &str) -> Vec<Fault> {
        let params = (!params.is_empty()).then(|| RawValue::from_string(params.to_owned()).unwrap());
        let method = MethodContract {
            params: Parameters::Schema(Schema::from_value(schema).unwrap()),
            ..MethodContract::unknown("m")
        };
        faults(&Contract::new(vec![method]), "m", params.as_deref())
    }

    fn device() -> Value {
        json!({ "type": "object", "properties": {
            "id": { "type": "string", "minLength": 1 }, "status": { "$ref": "#/$defs/Status" },
            "tags": { "type": "array", "items": { "type": "string" } },
            "at": { "type": ["integer", "null"], "minimum": 0 },
        }, "required": ["id", "status"], "additionalProperties": false,
        "$defs": { "Status": { "oneOf": [{ "const": "online", "description": "d" }, { "enum": ["offline", "gone"] }] } } })
    }

    #[test]
    fn names_every_field_that_is_wrong() {
        let mut faults = check(device(), r#"{"id":"","tags":["a",1],"at":-1,"statsu":"lost"}"#);

        faults.sort();
        assert_eq!(
            faults,
            [
                "params.at: must be at least 0",
                "params.id: must have at least 1 character",
                "params.statsu: no such member",
                "params.status: is required",
                "params.tags[1]: must be string",
            ]
        );
        assert_eq!(
            check(device(), r#"{"id":"a","status":"lost"}"#),
            [r#"params.status: must be "online" or "offline" or "gone""#]
        );
        assert_eq!(
            check(device(), r#"{"id":"a","status":"gone","at":"x"}"#),
            ["params.at: must be null or integer"]
        );
        assert!(check(device(), r#"{"id":"a","status":"gone","at":null}"#).is_empty());
    }

    #[test]
    fn names_the_fields_of_params_that_are_missing() {
        let expected = ["params: are missing", "params.id: is required", "params.status: is required"];
        assert_eq!(check(device(), ""), expected);
        assert!(check(json!({ "type": ["string", "null"] }), "").is_empty());
        assert_eq!(check(device(), "[]"), ["params: must be object"]);
    }

    #[test]
    fn admits_empty_params_that_a_plugin_reads_as_an_empty_object() {
        let optional =
            json!({ "type": "object", "properties": { "limit": { "type": ["integer", "null"] } } });
        for params in ["", "null", "[]", "{}"] {
            assert!(check(optional.clone(), params).is_empty(), "{params}");
        }
        assert_eq!(check(optional, "[1]"), ["params: must be object"]);
    }

    #[test]
    fn names_the_field_of_the_alternative_that_is_meant() {
        let tagged = |tag: &str, member: &str| {
            json!({ "type": "object", "properties": {
            "type": { "const": tag }, member: { "type": "integer" },
        }, "required": ["type", member] })
        };
        let schema = json!({ "oneOf": [tagged("added", "at"), tagged("moved", "to"), { "type": "null" }] });

        assert_eq!(check(schema.clone(), r#"{"type":"moved","to":"x"}"#), ["params.to: must be integer"]);
        assert_eq!(check(schema.clone(), r#"{"type":"lost"}"#), ["params: fits none of the alternatives"]);
        assert_eq!(check(schema, "7"), ["params: must be object or null"]);
    }

    #[test]
    fn rejects_nothing_that_it_does_not_know() {
        let contract = Contract::of_names(["m"]);
        assert!(faults(&contract, "m", None).is_empty() && faults(&contract, "x", None).is_empty());
        assert!(check(json!({ "type": "string", "pattern": "(" }), "\"a\"").is_empty());
    }

    #[test]
    fn ends_for_schemas_that_refer_to_themselves() {
        let circle = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } });
        let nullable = json!({ "anyOf": [{ "$ref": "#" }, { "type": "null" }] });

        for schema in [json!({ "$ref": "#" }), circle] {
            assert!(check(schema, "1").is_empty());
        }
        assert!(check(nullable, "null").is_empty());
    }
}
