//! Whether a call fits the contract of its method, as a plugin reads params.

use serde_json::{Map, Value};

use crate::contract::{Example, MethodContract, Parameters};
use crate::{Schema, ValueFault};

impl Parameters {
    /// Returns what is wrong with the params of a call, at most `most` faults whose places begin
    /// with `params`. Params that may fit have none.
    ///
    /// Plugins read params that are missing or `null`, and an empty array, as an empty object if
    /// they do not fit.
    #[must_use]
    pub fn faults(&self, params: Option<&Value>, most: usize) -> Vec<ValueFault> {
        let params = params.unwrap_or(&Value::Null);
        let is_empty = match params {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        match self {
            Self::Unknown => Vec::new(),
            Self::None if is_empty => Vec::new(),
            Self::None => vec![fault("params", "the method takes none")],
            Self::Schema(schema) => faults_of_schema(schema, params, is_empty, most),
        }
    }
}

fn faults_of_schema(schema: &Schema, params: &Value, is_empty: bool, most: usize) -> Vec<ValueFault> {
    let faults = schema.faults(params, most);
    if faults.is_empty() || !is_empty {
        return faults.into_iter().map(|fault| in_part("params", fault)).collect();
    }

    let of_empty_object = schema.faults(&Value::Object(Map::new()), most);
    match params {
        _ if of_empty_object.is_empty() => Vec::new(),
        Value::Null => {
            // The members that are required, unless an object is wrong altogether.
            let members = of_empty_object.into_iter().filter(|fault| !fault.path.is_empty());
            let missing = fault("params", "are missing");
            [missing].into_iter().chain(members.map(|fault| in_part("params", fault))).take(most).collect()
        }
        _ => faults.into_iter().map(|fault| in_part("params", fault)).collect(),
    }
}

impl MethodContract {
    /// Returns the first thing that is wrong with an example of this method.
    #[must_use]
    pub fn fault_of(&self, example: &Example) -> Option<ValueFault> {
        let in_params = self.params.faults(example.params.as_ref(), 1).into_iter().next();
        in_params.or_else(|| {
            let (schema, result) = (self.result.as_ref()?, example.result.as_ref()?);
            schema.faults(result, 1).into_iter().next().map(|fault| in_part("result", fault))
        })
    }
}

fn in_part(part: &str, fault: ValueFault) -> ValueFault {
    ValueFault { path: format!("{part}{}", fault.path), ..fault }
}

fn fault(path: &str, fault: &str) -> ValueFault {
    ValueFault { path: path.to_owned(), fault: fault.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(params: &Parameters, value: Option<Value>) -> Vec<String> {
        params.faults(value.as_ref(), 10).iter().map(ToString::to_string).collect()
    }

    fn of_schema(schema: Value) -> Parameters {
        Parameters::Schema(Schema::from_value(schema).unwrap())
    }

    #[test]
    fn names_the_members_of_params_that_are_missing() {
        let device = of_schema(json!({ "type": "object", "required": ["id"] }));
        for missing in [None, Some(json!(null))] {
            assert_eq!(faults(&device, missing.clone()), ["params: are missing", "params.id: is required"]);
            assert_eq!(faults(&of_schema(json!({ "type": "string" })), missing), ["params: are missing"]);
        }
        assert_eq!(faults(&device, Some(json!({}))), ["params.id: is required"]);
    }

    #[test]
    fn accepts_what_a_plugin_reads_as_an_empty_object() {
        let optional = of_schema(json!({ "type": "object" }));
        for params in [&optional, &Parameters::None, &Parameters::Unknown] {
            for empty in [None, Some(json!(null)), Some(json!([])), Some(json!({}))] {
                assert_eq!(faults(params, empty), [""; 0]);
            }
        }
        assert_eq!(faults(&optional, Some(json!([1]))), ["params: must be an object"]);
        assert_eq!(faults(&Parameters::None, Some(json!({ "a": 1 }))), ["params: the method takes none"]);
    }

    #[test]
    fn finds_the_fault_of_an_example() {
        let method = MethodContract {
            params: of_schema(json!({ "type": "integer" })),
            result: Some(Schema::from_value(json!({ "type": "string" })).unwrap()),
            ..MethodContract::unknown("m")
        };
        let fault = |params: Value, result: Option<Value>| {
            method.fault_of(&Example { params: Some(params), result }).map(|fault| fault.to_string())
        };
        assert_eq!(fault(json!(1), None), None);
        assert_eq!(fault(json!(1), Some(json!("a"))), None);
        assert_eq!(fault(json!("a"), None).as_deref(), Some("params: must be an integer"));
        assert_eq!(fault(json!(1), Some(json!(2))).as_deref(), Some("result: must be text"));
    }
}
