//! Any contract has a client that is valid Rust in which no name occurs twice.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use syn::{Fields, File, ImplItem, Item};

use super::contracts::{contract, generate};

/// Names that collide, are keywords, or are no identifiers.
fn name() -> impl Strategy<Value = String> {
    let hostile = ["type", "self", "Self", "Error", "a b", "aB", "a_b", "1", "", "Option", "é", "\"", "new"];
    prop_oneof![
        prop::sample::select(hostile.map(str::to_owned).to_vec()),
        "[a-c]{1,2}",
        any::<String>().prop_map(|text| text.chars().take(6).collect()),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        prop::sample::select(vec!["null", "boolean", "number", "string"])
            .prop_map(|ty| json!({ "type": ty })),
        (any::<Option<i64>>(), any::<Option<u64>>(), prop::sample::select(vec!["int8", "uint64", "x"]))
            .prop_map(|(minimum, maximum, format)| {
                let mut integer = json!({ "type": "integer", "format": format });
                minimum.into_iter().for_each(|minimum| integer["minimum"] = json!(minimum));
                maximum.into_iter().for_each(|maximum| integer["maximum"] = json!(maximum));
                integer
            }),
        prop::collection::btree_set(name(), 1..4).prop_map(|names| json!({ "enum": names })),
        name().prop_map(|name| json!({ "const": name })),
        prop::sample::select(vec!["A", "B", "Error"])
            .prop_map(|name| json!({ "$ref": format!("#/$defs/{name}") })),
        Just(json!({ "$ref": "#" })),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..4);
        let members = prop::collection::btree_map(name(), inner.clone(), 0..4);
        prop_oneof![
            inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
            inner
                .clone()
                .prop_map(|items| json!({ "type": "array", "items": items, "minItems": 2, "maxItems": 2 })),
            list.clone().prop_map(|items| {
                json!({ "type": "array", "minItems": items.len(), "prefixItems": items, "items": false })
            }),
            list.prop_map(|members| json!({ "anyOf": members })),
            inner.clone().prop_map(|values| json!({ "type": "object", "additionalProperties": values })),
            (members, inner, name()).prop_map(|(members, additional, text)| {
                let required: Vec<_> = members.keys().step_by(2).cloned().collect();
                json!({
                    "type": "object", "title": text, "description": text, "properties": members,
                    "required": required, "additionalProperties": additional,
                })
            }),
        ]
    })
}

/// A schema with the definitions that its parts refer to.
fn document() -> impl Strategy<Value = Value> {
    (schema(), schema(), schema(), schema()).prop_map(|(root, a, b, error)| {
        let definitions = json!({ "A": a, "B": b, "Error": error });
        match root {
            Value::Object(mut root) => {
                root.insert("$defs".to_owned(), definitions);
                Value::Object(root)
            }
            root => json!({ "anyOf": [root, { "$ref": "#/$defs/A" }], "$defs": definitions }),
        }
    })
}

fn methods() -> impl Strategy<Value = Map<String, Value>> {
    let method_name =
        prop::sample::select(vec!["a", "A", "a.new", "a.b-c", "a.b.c", "type.self", "self.type", "a.1"]);
    let facts = (
        any::<String>(),
        any::<Option<String>>(),
        prop::collection::vec((any::<i64>(), any::<String>()), 0..3),
    );
    let method = (document(), document(), facts).prop_map(|(params, result, (text, deprecated, errors))| {
        let errors = errors.into_iter().map(|(code, message)| json!({ "code": code, "message": message }));
        let facts = json!({
            "summary": text, "deprecated": deprecated, "errors": errors.collect::<Vec<_>>(),
        });
        json!({ "facts": facts, "params": params, "result": result })
    });
    let methods = prop::collection::btree_map(method_name, method, 1..4);
    methods.prop_map(|methods| methods.into_iter().map(|(name, method)| (name.to_owned(), method)).collect())
}

/// Adds a name, and fails if it is there already.
fn add(names: &mut BTreeSet<String>, name: &impl ToString) {
    let name = name.to_string();
    assert!(names.insert(name.clone()), "{name} occurs twice");
}

fn check_items(items: &[Item]) {
    let mut types = BTreeSet::new();
    let mut modules = BTreeSet::new();
    for item in items {
        match item {
            Item::Struct(item) => {
                add(&mut types, &item.ident);
                let mut fields = BTreeSet::new();
                if let Fields::Named(named) = &item.fields {
                    named.named.iter().flat_map(|field| &field.ident).for_each(|name| add(&mut fields, name));
                }
            }
            Item::Enum(item) => {
                add(&mut types, &item.ident);
                let mut variants = BTreeSet::new();
                item.variants.iter().for_each(|variant| add(&mut variants, &variant.ident));
            }
            Item::Impl(item) => {
                let mut functions = BTreeSet::new();
                for function in &item.items {
                    if let ImplItem::Fn(function) = function {
                        add(&mut functions, &function.sig.ident);
                    }
                }
            }
            Item::Mod(item) => {
                add(&mut modules, &item.ident);
                check_items(item.content.as_ref().map_or(&[], |(_, items)| items));
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generates_valid_rust_for_any_contract(methods in methods()) {
        let contract = contract(&methods);
        let source = generate(&contract, "properties").unwrap();

        let file: File = syn::parse_str(&source).unwrap_or_else(|error| panic!("{error}: {source}"));
        check_items(&file.items);
        prop_assert_eq!(generate(&contract, "properties").unwrap(), source);
    }
}
