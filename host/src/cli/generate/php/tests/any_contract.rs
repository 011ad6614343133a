//! PHP loads the files of any contract, and none of its text becomes code.

use jackfield_contract::{Contract, DeclaredError, MethodContract, MethodFacts};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{load, method};

/// Returns texts that would end a literal or a comment, or name a variable.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("*/ echo 'INJECTED'; /*".to_owned()),
        Just("'; echo 'INJECTED'; '".to_owned()),
        Just("\"; exit(3); \"".to_owned()),
        Just("{${exit(3)}}".to_owned()),
        Just("?> INJECTED <?php".to_owned()),
        Just("\n@return never\n".to_owned()),
        Just("\\".to_owned()),
        Just("class".to_owned()),
        Just("this".to_owned()),
        Just("Array".to_owned()),
        Just("0".to_owned()),
        "[a-zA-Z0-9_. -]{0,6}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

/// Returns schemas of all shapes, with references to the definitions `A` and `list`.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"])
            .prop_map(|name| json!({ "type": name })),
        Just(json!({ "type": "integer", "format": "uint64", "minimum": 0 })),
        Just(json!({ "$ref": "#/$defs/A" })),
        Just(json!({ "$ref": "#/$defs/list" })),
        prop::collection::btree_set(hostile_text(), 1..4).prop_map(|texts| json!({ "enum": texts })),
        prop::sample::subsequence(
            vec![json!(i64::MIN), json!(u64::MAX), json!([1]), json!(null), json!(0.5)],
            1..4
        )
        .prop_map(|values| json!({ "enum": values })),
    ];

    let node = leaf.prop_recursive(3, 12, 3, |inner| {
        let members = prop::collection::btree_map(hostile_text(), inner.clone(), 0..4);
        prop_oneof![
            (members, any::<bool>()).prop_map(|(members, is_closed)| {
                let required: Vec<_> = members.keys().step_by(2).cloned().collect();
                let members: Map<_, _> = members.into_iter().collect();
                json!({ "type": "object", "properties": members, "required": required,
                        "additionalProperties": !is_closed })
            }),
            inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
            inner.clone().prop_map(|values| json!({ "type": "object", "additionalProperties": values })),
            prop::collection::vec(inner, 1..3).prop_map(|members| json!({ "anyOf": members })),
        ]
    });

    (node.clone(), node, hostile_text(), hostile_text()).prop_map(|(root, a, title, description)| {
        let mut root = if root.is_boolean() { json!({}) } else { root };
        root["title"] = json!(title);
        root["description"] = json!(description);
        root["$defs"] = json!({ "A": a, "list": { "type": "array", "items": { "$ref": "#/$defs/A" } } });
        root
    })
}

fn any_method() -> impl Strategy<Value = MethodContract> {
    let errors = prop::collection::vec((any::<i64>(), hostile_text()), 0..3);
    let facts = (hostile_text(), hostile_text(), hostile_text(), errors);
    ("[a-c]?[.]?", hostile_text(), schema(), schema(), facts).prop_map(
        |(prefix, name, params, result, facts)| {
            let (summary, description, deprecated, errors) = facts;
            let errors = errors.into_iter().map(|(code, message)| DeclaredError { code, message }).collect();
            MethodContract {
                facts: MethodFacts {
                    summary: Some(summary),
                    description: Some(description),
                    deprecated: Some(deprecated),
                    errors,
                    idempotent: true,
                },
                ..method(&format!("x{prefix}{name}"), params, result)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn php_loads_what_any_contract_leads_to(methods in prop::collection::vec(any_method(), 1..4)) {
        let contract = Contract::new(methods);
        let count = contract.methods().len();

        let defined = load(&contract, "any");

        let defined = defined.map_err(|printed| TestCaseError::fail(format!("php printed: {printed}")))?;
        let is_class = |(name, _): &&(String, Vec<String>)| name.matches('\\').count() == 2;
        let methods: usize = defined.iter().filter(is_class).map(|(_, methods)| methods.len() - 2).sum();
        prop_assert_eq!(methods, count, "{:?}", defined);
    }
}
