//! Documents are read as they were written, whatever the schemas are.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::reference_graph::ReferenceGraph;
use super::*;
use crate::Example;

/// The definitions of every schema. Two of the names become the same one in a document.
const DEFINITIONS: [&str; 5] = ["Device", "Device_2", "a/b", "a_b", "ü"];

fn reference() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(&DEFINITIONS[..]);
    let definition = names.prop_map(|name| json!({ "$ref": crate::schema_keywords::reference_to(name) }));
    prop_oneof![4 => definition, 1 => Just(json!({ "$ref": "#" }))]
}

fn leaf() -> impl Strategy<Value = Value> {
    let plain = prop::sample::select(vec![
        json!(true),
        json!(false),
        json!({ "type": "null" }),
        json!({ "type": "string", "maxLength": 3, "format": "uuid" }),
        json!({ "type": "integer", "minimum": 0, "maximum": 18_446_744_073_709_551_615_u64 }),
        json!({ "type": ["boolean", "number"], "description": "Either." }),
        json!({ "enum": ["a", null, { "$ref": "#/$defs/Device" }] }),
        json!({ "const": 1, "title": "One", "deprecated": true }),
        json!({ "contentMediaType": "application/octet-stream" }),
        json!({ "type": "string", "pattern": "^a" }),
        json!({ "propertyNames": { "maxLength": 3 } }),
    ]);
    prop_oneof![plain, reference()]
}

fn object(member: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec!["id", "status", "$ref", "type", ""]);
    let members = prop::collection::btree_map(names, (member.clone(), any::<bool>()), 0..4);
    (members, prop::option::of(member)).prop_map(|(members, additional)| {
        let required: Vec<_> = members.iter().filter(|(_, (_, is_required))| *is_required).collect();
        let required: Vec<_> = required.into_iter().map(|(name, _)| *name).rev().collect();
        let properties: serde_json::Map<_, _> =
            members.iter().map(|(name, (schema, _))| ((*name).to_owned(), schema.clone())).collect();
        let mut object = json!({ "type": "object", "properties": properties, "required": required });
        if let Some(additional) = additional {
            object["additionalProperties"] = additional;
        }
        object
    })
}

fn inner() -> impl Strategy<Value = Value> + Clone {
    leaf().prop_recursive(3, 24, 4, |inner| {
        let several = vec(inner.clone(), 1..3);
        prop_oneof![
            object(inner.clone()),
            inner.clone().prop_map(|items| json!({ "type": "array", "items": items, "title": "List" })),
            several.clone().prop_map(|members| json!({ "anyOf": members })),
            several.clone().prop_map(|members| json!({ "allOf": members })),
            several.prop_map(|members| json!({ "type": "array", "prefixItems": members })),
            inner.prop_map(|schema| json!({ "not": schema, "default": { "$ref": "#" } })),
        ]
    })
}

fn schema() -> impl Strategy<Value = Schema> {
    let root = prop_oneof![inner(), object(inner())];
    let definitions = vec(inner(), DEFINITIONS.len());
    (root, prop::option::of(prop::sample::select(&DEFINITIONS[..])), definitions).prop_map(
        |(root, title, definitions)| {
            let mut document = if root.is_object() { root } else { json!({ "allOf": [root] }) };
            if let Some(title) = title {
                document["title"] = title.into();
            }
            let named = DEFINITIONS.iter().map(|name| (*name).to_owned()).zip(definitions);
            document["$defs"] = Value::Object(named.collect());
            with_needed_definitions(&document)
        },
    )
}

/// Reads a schema without the definitions that it does not need, because no document has these.
fn with_needed_definitions(document: &Value) -> Schema {
    let needed: HashSet<_> = ReferenceGraph::of(document).names().collect();
    let mut document = document.clone();
    if let Some(definitions) = document["$defs"].as_object_mut() {
        definitions.retain(|name, _| needed.contains(name.as_str()));
    }
    Schema::from_value(document.clone()).unwrap_or_else(|fault| panic!("{fault}: {document:#}"))
}

fn example() -> impl Strategy<Value = Example> {
    let value = || {
        prop::option::of(prop::sample::select(vec![
            json!(null),
            json!(7),
            json!({}),
            json!([]),
            json!({ "id": 1, "": null }),
            json!({ "id": "a", "status": [null] }),
        ]))
    };
    (value(), value()).prop_map(|(params, result)| Example { params, result })
}

fn method() -> impl Strategy<Value = MethodContract> {
    let params = prop_oneof![
        Just(Parameters::Unknown),
        Just(Parameters::None),
        schema().prop_map(Parameters::Schema),
        schema().prop_map(Parameters::Schema),
    ];
    (params, prop::option::of(schema()), vec(example(), 0..3)).prop_map(|(params, result, examples)| {
        MethodContract { params, result, examples, ..MethodContract::unknown("") }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_it_wrote(methods in vec(method(), 1..5)) {
        let named = methods.into_iter().enumerate();
        let methods = named.map(|(number, method)| MethodContract { name: format!("a.m{number}"), ..method });
        let contract = Contract::new(methods.collect());

        let document = document_of(contract.methods().to_vec());

        let text = document.to_string();
        let again = write(&INFO, &read(text.as_bytes()).unwrap());
        prop_assert_eq!(&again, &document, "a document that was read is written as it was");
        for schema in document["components"]["schemas"].as_object().into_iter().flatten() {
            prop_assert!(text.contains(&super::super::components::reference(schema.0)), "{}", schema.0);
        }
    }
}
