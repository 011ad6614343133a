//! Contracts of one method, from Rust types and from schemas.

#![allow(dead_code, reason = "each test uses a part of it")]

use jackfield_contract::{
    Comparison, Contract, Finding, MethodContract, Parameters, Schema, Verdict, compare,
};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// Makes the schema of params.
pub(crate) fn params_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// Makes the schema of a result.
pub(crate) fn result_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

fn schema(document: &Value) -> Schema {
    Schema::from_value(document.clone()).unwrap_or_else(|fault| panic!("{fault}: {document}"))
}

fn contract(params: Option<&Value>, result: Option<&Value>) -> Contract {
    Contract::new(vec![MethodContract {
        params: params.map_or(Parameters::None, |params| Parameters::Schema(schema(params))),
        result: Some(schema(result.unwrap_or(&Value::Bool(true)))),
        ..MethodContract::unknown("m")
    }])
}

/// Compares schemas of params.
pub(crate) fn compare_params(old: &Value, new: &Value) -> Comparison {
    compare(&contract(Some(old), None), &contract(Some(new), None))
}

/// Compares schemas of results.
pub(crate) fn compare_results(old: &Value, new: &Value) -> Comparison {
    compare(&contract(None, Some(old)), &contract(None, Some(new)))
}

/// Returns the findings as `PATH: CHANGE`, those that are unknown after `?`.
pub(crate) fn texts(comparison: &Comparison) -> Vec<String> {
    let text = |finding: &Finding| format!("{}: {}", finding.path, finding.change);
    let unknown = comparison.unknown.iter().map(|finding| format!("? {}", text(finding)));
    comparison.breaking.iter().map(text).chain(unknown).collect()
}

/// Fails unless there is nothing to report.
#[track_caller]
pub(crate) fn assert_compatible(name: &str, comparison: &Comparison) {
    assert_eq!(comparison.verdict(), Verdict::Compatible, "{name}: {:?}", texts(comparison));
}
