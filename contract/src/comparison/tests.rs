//! Unit tests of the comparison, by tables.

use serde_json::{Value, json};

use super::*;
use crate::contract::MethodFacts;

fn schema(document: &Value) -> Schema {
    Schema::from_value(document.clone()).unwrap()
}

fn method(params: Parameters, result: Option<&Value>) -> MethodContract {
    MethodContract { params, result: result.map(schema), ..MethodContract::unknown("m") }
}

fn params(document: &Value) -> Parameters {
    Parameters::Schema(schema(document))
}

fn texts(old: MethodContract, new: MethodContract) -> Vec<String> {
    let Comparison { breaking, unknown } = compare(&Contract::new(vec![old]), &Contract::new(vec![new]));
    let text = |finding: &Finding| match finding.path.as_str() {
        "" => finding.change.clone(),
        path => format!("{path}: {}", finding.change),
    };
    let unknown = unknown.iter().map(|finding| format!("? {}", text(finding)));
    breaking.iter().map(text).chain(unknown).collect()
}

fn of_params(old: &Value, new: &Value) -> Vec<String> {
    let null = json!({ "type": "null" });
    texts(method(params(old), Some(&null)), method(params(new), Some(&null)))
}

fn of_results(old: &Value, new: &Value) -> Vec<String> {
    texts(method(Parameters::None, Some(old)), method(Parameters::None, Some(new)))
}

#[test]
fn reports_each_missing_method_in_order() {
    let found = compare(&Contract::of_names(["c", "a", "b"]), &Contract::of_names(["b", "d"]));
    let breaking: Vec<_> = found.breaking.iter().map(ToString::to_string).collect();
    assert_eq!(breaking, ["a: is missing", "c: is missing"]);
    let unknown: Vec<_> = found.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(unknown, ["b: params: have no schema", "b: result: has no schema"]);
    assert_eq!(found.verdict(), Verdict::Incompatible);
}

#[test]
fn compares_the_facts_of_a_method() {
    let any = json!(true);
    let facts = |facts| MethodContract { facts, ..method(Parameters::None, Some(&any)) };
    let idempotent = MethodFacts { idempotent: true, ..MethodFacts::default() };
    let told = MethodFacts {
        summary: Some("Text.".to_owned()),
        deprecated: Some("use another".to_owned()),
        errors: vec![crate::DeclaredError { code: 1, message: "no".to_owned() }],
        ..MethodFacts::default()
    };

    assert_eq!(texts(facts(idempotent.clone()), facts(told.clone())), ["is not idempotent any more"]);
    assert!(texts(facts(told.clone()), facts(idempotent)).is_empty());
    assert!(texts(facts(told), facts(MethodFacts::default())).is_empty());
}

#[test]
fn compares_params_with_none() {
    let required = json!({ "type": "object", "properties": { "a": {}, "b": {} }, "required": ["b", "a"] });
    let optional = json!({ "type": "object", "properties": { "a": {} } });
    let text = json!({ "type": "string" });
    let null = json!({ "type": "null" });
    let map = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let none_to =
        |new: &Value| texts(method(Parameters::None, Some(&null)), method(params(new), Some(&null)));
    let to_none =
        |old: &Value| texts(method(params(old), Some(&null)), method(Parameters::None, Some(&null)));

    assert_eq!(none_to(&required), ["params.b: is required now", "params.a: is required now"]);
    assert_eq!(none_to(&text), ["params: are required now"]);
    for new in [&optional, &null, &map, &json!(true), &json!({ "type": ["string", "null"] })] {
        assert!(none_to(new).is_empty(), "{new}");
    }
    assert_eq!(none_to(&json!({ "not": {} })), ["? params: may be required now"]);

    let refused = "params: are refused now: the method takes none any more";
    for old in [&required, &optional, &text, &map, &json!(true)] {
        assert_eq!(to_none(old), [refused], "{old}");
    }
    assert!(to_none(&null).is_empty());
    assert_eq!(to_none(&json!({ "type": "object" })), ["? params: may be refused now"]);
}

#[test]
fn reads_null_params_as_missing_ones() {
    let inner =
        |required: &[&str]| json!({ "type": "object", "properties": { "a": {} }, "required": required });
    let or_null = |schema: Value| json!({ "anyOf": [schema, { "type": "null" }] });

    assert!(of_params(&or_null(inner(&[])), &inner(&[])).is_empty());
    assert_eq!(of_params(&or_null(inner(&["a"])), &inner(&["a"])), ["params: are required now"]);
    assert!(of_params(&json!({ "type": "null" }), &inner(&[])).is_empty());
    let deeper = |schema: Value| json!({ "type": "object", "properties": { "x": schema } });
    assert_eq!(
        of_params(&deeper(or_null(inner(&[]))), &deeper(inner(&[]))),
        ["params.x: admits no null any more"]
    );
}

#[test]
fn does_not_know_what_a_missing_schema_admits() {
    let any = json!(true);
    let known = || method(params(&any), Some(&any));
    let unknown = || method(Parameters::Unknown, None);
    assert_eq!(texts(unknown(), known()), ["? params: had no schema", "? result: had no schema"]);
    assert_eq!(
        texts(known(), unknown()),
        ["? params: have no schema any more", "? result: has no schema any more"]
    );
}

#[test]
fn compares_bytes_with_bytes_only() {
    let bytes = json!({ "contentMediaType": "application/octet-stream" });
    let text = json!({ "type": "string" });
    assert!(of_params(&bytes, &bytes).is_empty());
    assert_eq!(of_params(&bytes, &text), ["params: is text now, was bytes"]);
    assert_eq!(of_results(&text, &bytes), ["result: is bytes now, was text"]);
    assert_eq!(of_results(&bytes, &json!(true)), ["result: is any value now, was bytes"]);
    let either = json!({ "anyOf": [bytes, text] });
    assert!(of_params(&bytes, &either).is_empty());
    assert_eq!(of_params(&either, &text), ["params: admits no bytes any more"]);
}

#[test]
fn compares_plain_shapes() {
    for (wide, narrow, change) in [
        (json!({ "type": "integer" }), json!({ "type": "integer", "minimum": 1 }), "must be at least 1 now"),
        (json!({ "type": "number" }), json!({ "type": "number", "maximum": 1.5 }), "must be at most 1.5 now"),
        (json!({ "type": "number" }), json!({ "type": "integer" }), "must be an integer now"),
        (
            json!({ "type": "integer", "format": "uint64" }),
            json!({ "type": "integer", "format": "uint32" }),
            "must be at most 4294967295 now",
        ),
        (json!({ "type": "boolean" }), json!({ "const": true }), "admits only certain values now"),
        (json!({ "enum": [1, "a", null] }), json!({ "enum": [1.0, null] }), "admits no \"a\" any more"),
        (json!({ "type": "string" }), json!(false), "is nothing now, was text"),
        (
            json!(true),
            json!({ "type": ["integer", "array"] }),
            "is an array or an integer now, was any value",
        ),
        (
            json!({ "type": "object", "additionalProperties": true }),
            json!({ "type": "object", "additionalProperties": false }),
            "admits no further members any more",
        ),
    ] {
        assert!(of_params(&narrow, &wide).is_empty(), "{narrow} -> {wide}");
        assert_eq!(of_params(&wide, &narrow), [format!("params: {change}")], "{wide} -> {narrow}");
    }
}

#[test]
fn takes_equal_values_of_different_unions_as_equal() {
    let tuple = json!({ "type": "array", "prefixItems": [{ "type": "null" }], "minItems": 1, "maxItems": 1 });
    let list = json!({ "type": "array", "items": { "type": "null" }, "minItems": 1, "maxItems": 1 });
    let truth = json!({ "oneOf": [{ "const": false }, { "const": true }] });
    for (left, right) in [
        (tuple, list),
        (truth, json!({ "type": "boolean" })),
        (
            json!({ "type": ["null", "string"] }),
            json!({ "anyOf": [{ "type": "string" }, { "const": null }] }),
        ),
        (json!({ "type": "array", "maxItems": 0 }), json!({ "type": "array", "items": false })),
    ] {
        for comparison in [of_params(&left, &right), of_params(&right, &left), of_results(&left, &right)] {
            assert_eq!(comparison, Vec::<String>::new(), "{left} {right}");
        }
    }
}

#[test]
fn does_not_decide_about_patterns_sets_and_what_is_not_modelled() {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let array = |unique: bool| json!({ "type": "array", "uniqueItems": unique });
    let opaque = |number: u32| json!({ "not": { "const": number } });
    for (old, new, change) in [
        (pattern("a"), pattern("b"), Some("has another pattern now")),
        (pattern("a"), pattern("a"), None),
        (array(false), array(true), Some("should have no duplicates now")),
        (array(true), array(false), None),
        (opaque(1), opaque(2), Some("is described by means that are not compared, and has changed")),
        (opaque(1), opaque(1), None),
        (opaque(1), json!(true), None),
    ] {
        let expected: Vec<_> = change.iter().map(|change| format!("? params: {change}")).collect();
        assert_eq!(of_params(&old, &new), expected, "{old} -> {new}");
    }
}

/// Several members of a union may admit together what none admits alone.
#[test]
fn breaks_at_overlapping_members_only_if_a_value_shows_it() {
    let range =
        |least: i64, greatest: i64| json!({ "type": "integer", "minimum": least, "maximum": greatest });
    let halves = json!({ "anyOf": [range(0, 50), range(40, 100)] });
    assert_eq!(of_params(&range(0, 100), &halves), ["? params: has changed in a way that is not decided"]);
    assert_eq!(of_params(&range(0, 101), &halves), ["params: admits no 101 any more"]);
    assert!(of_params(&range(45, 90), &halves).is_empty());
}

#[test]
fn decides_recursive_schemas_coinductively() {
    let tree = |value: &str, name: &str| {
        json!({
            "$ref": format!("#/$defs/{name}"),
            "$defs": { name: {
                "type": "object",
                "properties": {
                    "value": { "type": value },
                    "children": { "type": "array", "items": { "$ref": format!("#/$defs/{name}") } },
                },
                "required": ["value"],
            } },
        })
    };
    // The same, with a definition for every second level.
    let two = json!({
        "$ref": "#/$defs/A",
        "$defs": {
            "A": { "type": "object", "required": ["value"], "properties": {
                "value": { "type": "integer" }, "children": { "type": "array", "items": { "$ref": "#/$defs/B" } } } },
            "B": { "type": "object", "required": ["value"], "properties": {
                "value": { "type": "integer" }, "children": { "type": "array", "items": { "$ref": "#/$defs/A" } } } },
        },
    });
    let one = tree("integer", "T");

    assert!(of_params(&one, &two).is_empty());
    assert!(of_results(&two, &one).is_empty());
    assert!(of_params(&two, &tree("number", "U")).is_empty());
    assert_eq!(
        of_params(&tree("number", "U"), &two),
        ["params.value: must be an integer now", "params.children[].value: must be an integer now"]
    );
}

/// A pair that only seemed to fit, because of a pair that does not, is compared again.
#[test]
fn forgets_what_followed_from_a_wrong_assumption() {
    let schema = |kind: &str| {
        json!({
            "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }],
            "$defs": {
                "A": { "type": "object", "required": ["b", "x"], "properties": {
                    "b": { "anyOf": [{ "$ref": "#/$defs/B" }, { "type": "null" }] }, "x": { "type": kind } } },
                "B": { "type": "object", "required": ["a"], "properties": {
                    "a": { "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }] } } },
            },
        })
    };
    let wrap = |schema: Value| {
        let mut schema = schema;
        schema["anyOf"] = json!([{ "type": "object", "properties": { "first": { "$ref": "#/$defs/A" }, "second": { "$ref": "#/$defs/B" } } }]);
        schema
    };
    let found = of_params(&wrap(schema("string")), &wrap(schema("integer")));
    let change = "x: is an integer now, was text";
    assert_eq!(found, [format!("params.first.{change}"), format!("params.second.a.{change}")]);
}

#[test]
fn names_members_shortly_and_without_control_characters() {
    let object = |name: &str| json!({ "type": "object", "properties": { name: {} }, "required": [name] });
    let found = of_params(&json!({ "type": "object" }), &object("a\n\u{1b}[31m"));
    assert_eq!(found, ["params.a  [31m: is required now"]);
    let found = of_params(&json!({ "type": "object" }), &object(&"x".repeat(100_000)));
    assert_eq!(found, [format!("params.{}…: is required now", "x".repeat(59))]);
}
