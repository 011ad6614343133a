//! Contracts of plugins that write anything, and documents of anybody.

use proptest::prelude::*;

use super::*;
use crate::{Example, SchemaFault};

/// Any value, with members that are often keywords.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![0, 1, -1]).prop_map(Value::from),
        prop::sample::select(vec!["object", "integer", "#", "#/$defs/a", "http://localhost/", ""])
            .prop_map(Value::from),
    ];
    let keywords = vec![
        "$ref",
        "$defs",
        "$id",
        "title",
        "type",
        "properties",
        "required",
        "items",
        "prefixItems",
        "anyOf",
        "allOf",
        "not",
        "enum",
        "const",
        "minimum",
        "maxLength",
        "multipleOf",
        "pattern",
        "uniqueItems",
        "additionalProperties",
        "patternProperties",
        "dependencies",
        "default",
        "examples",
        "a",
        "",
    ];

    leaf.prop_recursive(4, 48, 4, move |inner| {
        let keyword = prop::sample::select(keywords.clone()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(keyword, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn writes_a_valid_document_of_every_schema_that_is_accepted(params in anything(), result in anything()) {
        let mut method = MethodContract::unknown("a");
        method.params = Schema::from_value(params).map_or(Parameters::Unknown, Parameters::Schema);
        method.result = Schema::from_value(result).ok();

        let document = write(&INFO, &Contract::new(vec![method]));
        meta_schema::assert_is_openrpc(&document);
        prop_assert!(read(document.to_string().as_bytes()).is_ok(), "{document:#}");
    }

    #[test]
    fn reads_or_rejects_any_document(method in anything(), components in anything(), names in anything()) {
        let mut method = method;
        if let Some(members) = method.as_object_mut() {
            members.insert("name".to_owned(), "a".into());
            members.insert("params".to_owned(), json!([]));
            members.insert("x-jackfield-params-schema".to_owned(), components.clone());
        }
        let document = json!({
            "openrpc": "1.3.2", "methods": [method], "x-jackfield-names": names,
            "components": { "schemas": { "a": components } },
        });
        let _ = read(document.to_string().as_bytes());
    }
}

#[test]
fn writes_valid_documents_of_hostile_contracts() {
    let object = json!({ "type": "object", "properties": { "": true, "a": { "pattern": "(" } } });
    let chain = (0..5_000).map(|number| {
        (format!("{number}"), json!({ "items": { "$ref": format!("#/$defs/{}", (number + 1) % 5_000) } }))
    });
    let chain = json!({ "$ref": "#/$defs/0", "$defs": serde_json::Map::from_iter(chain) });
    let deep =
        (0..44).fold(json!(true), |inner, _| json!({ "properties": { "a": inner }, "type": "object" }));
    let examples = vec![Example { params: Some(json!({ "": 1 })), result: None }];

    document_of(vec![
        MethodContract { examples, ..method("a.object", object, json!({ "not": {} })) },
        method("a.chain", chain, json!({ "$anchor": "x", "then": true })),
        method("a.deep", deep.clone(), deep),
    ]);
}

#[test]
fn leaves_out_examples_that_are_nested_too_deep() {
    let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
    let example = Example { params: Some(deep), result: None };
    let method = MethodContract { examples: vec![example], ..MethodContract::unknown("a") };
    assert_eq!(write(&INFO, &Contract::new(vec![method]))["methods"][0].get("examples"), None);
}

#[test]
fn rejects_what_is_no_openrpc_document() {
    let with = |method: Value| json!({ "openrpc": "1.3.2", "methods": [method] }).to_string();
    for document in [
        "{".to_owned(),
        "[]".to_owned(),
        json!({ "methods": [] }).to_string(),
        json!({ "openrpc": "2.0.0", "methods": [] }).to_string(),
        json!({ "openrpc": "1.3.2", "methods": {} }).to_string(),
        with(json!({ "name": "a" })),
        with(json!({ "name": "a b", "params": [] })),
        with(json!({ "name": "a".repeat(257), "params": [] })),
        with(json!({ "name": "../a", "params": [] })),
        with(json!({ "name": "a", "params": [], "errors": [{ "code": "1" }] })),
    ] {
        let fault = read(document.as_bytes()).unwrap_err();
        assert!(matches!(fault, OpenRpcFault::Invalid(_)), "{document}: {fault}");
    }
}

#[test]
fn rejects_schemas_that_refer_to_nothing_or_to_two_things() {
    let to = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    for schema in [to("missing"), json!({ "$ref": "#/methods/0" }), json!({ "anyOf": [to("a"), to("b")] })] {
        let document = json!({
            "openrpc": "1.3.2", "components": { "schemas": { "a": true, "b": true } },
            "x-jackfield-names": { "a": "c", "b": "c" },
            "methods": [{ "name": "m", "params": [], "result": { "schema": schema } }],
        });
        let fault = read(document.to_string().as_bytes()).unwrap_err();
        let OpenRpcFault::Schema { method, place, fault } = fault else { panic!("{fault}") };
        assert_eq!((&*method, place), ("m", "result"));
        assert!(matches!(fault, SchemaFault::Reference { .. }), "{fault}");
    }
}

#[test]
fn rejects_many_copies_of_large_components() {
    let large = json!({ "enum": (0..10_000).collect::<Vec<_>>() });
    let schema = json!({ "$ref": "#/components/schemas/large" });
    let methods = (0..200).map(
        |number| json!({ "name": format!("a.m{number}"), "params": [], "result": { "schema": schema } }),
    );
    let document = json!({
        "openrpc": "1.3.2", "methods": methods.collect::<Vec<_>>(), "components": { "schemas": { "large": large } },
    });
    let fault = read(document.to_string().as_bytes()).unwrap_err();
    assert!(matches!(fault, OpenRpcFault::Schema { fault: SchemaFault::TooLarge, .. }), "{fault}");
}

#[test]
fn reads_the_methods_of_other_documents() {
    let document = json!({
        "openrpc": "1.2.6",
        "info": { "title": "Petstore", "version": "1" },
        "methods": [
            { "name": "list_pets", "summary": "Lists.", "params": [{ "name": "limit", "schema": {} }] },
            { "name": "ping", "params": [], "deprecated": true },
        ],
    });
    let contract = read(document.to_string().as_bytes()).unwrap();

    let list = contract.method("list_pets").unwrap();
    assert_eq!((list.facts.summary.as_deref(), &list.params), (Some("Lists."), &Parameters::Unknown));
    let ping = contract.method("ping").unwrap();
    assert_eq!((ping.facts.deprecated.as_deref(), &ping.params), (Some(""), &Parameters::None));
}
