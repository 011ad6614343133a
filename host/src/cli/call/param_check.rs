//! Checks params against the schema of a method, and says which part of them is wrong.

use jackfield_contract::{Contract, Parameters, ValueFault};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::cli::shown_text::shown_line;

/// Upper bound for the faults that are reported.
const MAX_FAULTS: usize = 20;

/// Returns what is wrong with the params of a call, one line each, such as
/// `params.status: must be "online" or "offline"`. Nothing is if that is not known: the method is
/// not listed, or its params are not described.
pub(super) fn faults(contract: &Contract, method: &str, params: Option<&RawValue>) -> Vec<String> {
    let Some(Parameters::Schema(schema)) = contract.method(method).map(|method| &method.params) else {
        return Vec::new();
    };
    let Ok(value) = serde_json::from_str(params.map_or("null", RawValue::get)) else { return Vec::new() };
    let faults = schema.faults(&value, MAX_FAULTS);
    if faults.is_empty() {
        return Vec::new();
    }

    // Plugins read params that are missing, and an empty array, as an empty object.
    let empty = schema.faults(&Value::Object(Map::new()), MAX_FAULTS);
    match value {
        Value::Null if !empty.is_empty() => {
            let members = empty.iter().filter(|fault| !fault.path.is_empty());
            ["params: are missing".to_owned()].into_iter().chain(members.map(line)).collect()
        }
        Value::Null => Vec::new(),
        Value::Array(items) if items.is_empty() && empty.is_empty() => Vec::new(),
        _ => faults.iter().map(line).collect(),
    }
}

fn line(fault: &ValueFault) -> String {
    shown_line(&format!("params{}: {}", fault.path, fault.fault))
}

#[cfg(test)]
mod tests {
    use jackfield_contract::{MethodContract, Schema};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: Value, params: &str) -> Vec<String> {
        let params = (!params.is_empty()).then(|| RawValue::from_string(params.to_owned()).unwrap());
        let method = MethodContract {
            params: Parameters::Schema(Schema::from_value(schema).unwrap()),
            ..MethodContract::unknown("m")
        };
        faults(&Contract::new(vec![method]), "m", params.as_deref())
    }

    fn device() -> Value {
        json!({ "type": "object", "properties": { "id": { "type": "string" }, "at": { "type": "integer" } },
            "required": ["id"] })
    }

    #[test]
    fn names_every_field_that_is_wrong() {
        let expected = ["params.id: must be text", "params.at: must be an integer"];
        assert_eq!(check(device(), r#"{"id":1,"at":"x"}"#), expected);
        assert_eq!(check(device(), "7"), ["params: must be an object"]);
        assert!(check(device(), r#"{"id":"a","other":1}"#).is_empty());
    }

    #[test]
    fn names_the_fields_of_params_that_are_missing() {
        for missing in ["", "null"] {
            assert_eq!(check(device(), missing), ["params: are missing", "params.id: is required"]);
            assert!(check(json!({ "type": ["string", "null"] }), missing).is_empty());
            assert_eq!(check(json!({ "type": "string" }), missing), ["params: are missing"]);
        }
    }

    #[test]
    fn accepts_what_a_plugin_reads_as_an_empty_object() {
        for empty in ["", "null", "[]", "{}"] {
            assert!(check(json!({ "type": "object" }), empty).is_empty(), "{empty}");
        }
        assert_eq!(check(json!({ "type": "object" }), "[1]"), ["params: must be an object"]);
    }

    #[test]
    fn rejects_nothing_that_it_does_not_know() {
        let contract = Contract::of_names(["m"]);
        assert!(faults(&contract, "m", None).is_empty() && faults(&contract, "x", None).is_empty());
        assert!(check(json!({ "type": "string", "pattern": "(" }), "\"a\"").is_empty());
    }

    #[test]
    fn writes_hostile_names_in_one_line() {
        let schema = json!({ "type": "object", "additionalProperties": false });
        let faults = check(schema, r#"{"a\nb\u001b":1}"#);
        assert!(faults.len() == 1 && !faults[0].contains(['\n', '\u{1b}']), "{faults:?}");
    }
}
