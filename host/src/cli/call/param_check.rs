//! Checks params against the contract of a method, and says which part of them is wrong.

use jackfield_contract::Contract;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::shown_text::shown_line;

/// Upper bound for the faults that are reported.
const MAX_FAULTS: usize = 20;

/// Returns what is wrong with the params of a call, one line each, such as
/// `params.status: must be "online" or "offline"`. Nothing is if that is not known: the method is
/// not listed, or its params are not described.
pub(super) fn faults(contract: &Contract, method: &str, params: Option<&RawValue>) -> Vec<String> {
    let Some(method) = contract.method(method) else { return Vec::new() };
    let value = params.map(|params| serde_json::from_str::<Value>(params.get())).transpose();
    // The host decides about params that are no `Value`, such as 1e999.
    let Ok(value) = value else { return Vec::new() };

    let faults = method.params.faults(value.as_ref(), MAX_FAULTS);
    faults.iter().map(|fault| shown_line(&fault.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use jackfield_contract::{MethodContract, Parameters, Schema};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: Value, params: &str) -> Vec<String> {
        let params = RawValue::from_string(params.to_owned()).unwrap();
        let method = MethodContract {
            params: Parameters::Schema(Schema::from_value(schema).unwrap()),
            ..MethodContract::unknown("m")
        };
        faults(&Contract::new(vec![method]), "m", Some(&params))
    }

    #[test]
    fn names_every_field_that_is_wrong() {
        let schema = json!({ "type": "object", "required": ["id"],
            "properties": { "id": { "type": "string" }, "at": { "type": "integer" } } });
        let expected = ["params.id: must be text", "params.at: must be an integer"];
        assert_eq!(check(schema, r#"{"id":1,"at":"x"}"#), expected);
    }

    #[test]
    fn rejects_nothing_that_it_does_not_know() {
        let contract = Contract::of_names(["m"]);
        assert!(faults(&contract, "m", None).is_empty() && faults(&contract, "x", None).is_empty());
        assert!(check(json!({ "type": "string", "pattern": "(" }), "\"a\"").is_empty());
        assert!(check(json!({ "type": "string" }), "1e999").is_empty());
    }

    #[test]
    fn writes_hostile_names_in_one_line() {
        let schema = json!({ "type": "object", "additionalProperties": false });
        let faults = check(schema, r#"{"a\nb\u001b":1}"#);
        assert!(faults.len() == 1 && !faults[0].contains(['\n', '\u{1b}']), "{faults:?}");
    }
}
