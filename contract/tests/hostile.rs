//! Documents of a hostile plugin: nothing panics, and every comparison ends.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod support;

use std::fmt::Write as _;

use jackfield_contract::{Contract, ContractReader, DescriptionPart, Schema, SchemaFault, Verdict, compare};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use support::{compare_params, compare_results, texts};

/// Documents about one method, in the order of the parts.
type Documents = [Vec<u8>; 4];

fn contract(documents: &Documents) -> Contract {
    let mut reader = ContractReader::new(["m"]);
    for (part, document) in DescriptionPart::ALL.into_iter().zip(documents) {
        if let Err(fault) = reader.add(0, part, document) {
            assert!(fault.to_string().len() < 4_000, "{fault}");
        }
    }
    reader.finish()
}

/// Pieces that mutations put into schemas.
fn pieces() -> Vec<Value> {
    let mut pieces = vec![
        json!({ "$ref": "#" }),
        json!({ "$ref": "#/$defs/A" }),
        json!({ "$ref": "#/$defs/B" }),
        json!({ "anyOf": [{ "$ref": "#/$defs/A" }, { "$ref": "#/$defs/B" }] }),
        json!({ "allOf": [{ "$ref": "#/$defs/B" }, { "$ref": "#" }] }),
        json!({ "type": "object", "$ref": "#/$defs/A", "unevaluatedProperties": false }),
        json!({ "type": "object", "properties": { "a": { "$ref": "#" } }, "required": ["a", "b"] }),
        json!({ "type": ["object", "null", "array"], "items": { "$ref": "#/$defs/B" }, "minItems": 1 }),
        json!({ "type": "array", "prefixItems": [{}, false], "uniqueItems": true, "maxItems": 0 }),
        json!({ "type": "object", "patternProperties": { "^\\d+$": {} }, "additionalProperties": false }),
        json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/A" } }),
        json!({ "type": "integer", "minimum": -1e300, "maximum": 18_446_744_073_709_551_615_u64 }),
        json!({ "type": "integer", "format": "uint8", "minimum": 300 }),
        json!({ "type": "number", "minimum": 1e308, "maximum": -1e308 }),
        json!({ "type": "string", "minLength": u64::MAX, "maxLength": 0, "pattern": "(" }),
        json!({ "oneOf": [{ "const": 1.0 }, { "const": 1 }, { "enum": [null, [], {}, "a"] }] }),
        json!({ "not": { "$ref": "#/$defs/A" }, "if": true }),
        json!({ "contentMediaType": "application/octet-stream" }),
        json!("string"),
        json!(-0.0),
        json!([]),
    ];
    pieces.extend([json!(true), json!(false), json!(null), json!({})]);
    pieces
}

fn seeds() -> Vec<Value> {
    let object = |schema: Value| {
        json!({
            "type": "object",
            "properties": { "kind": { "const": "a" }, "value": schema, "list": { "type": "array", "items": { "$ref": "#/$defs/A" } } },
            "required": ["kind"],
            "$defs": {
                "A": { "oneOf": [{ "$ref": "#/$defs/B" }, { "type": "null" }] },
                "B": { "type": "object", "properties": { "a": { "$ref": "#/$defs/A" }, "n": { "type": "integer" } } },
            },
        })
    };
    pieces().into_iter().map(object).collect()
}

/// Replaces the value at a place, or adds to it. Places are counted through the whole document.
fn mutate(value: &mut Value, place: &mut usize, piece: &Value) -> bool {
    if *place == 0 {
        match (value, piece) {
            (Value::Object(members), Value::Object(piece)) if !piece.is_empty() => {
                members.extend(piece.clone())
            }
            (Value::Array(items), piece) => items.push(piece.clone()),
            (value, piece) => *value = piece.clone(),
        }
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| mutate(item, place, piece)),
        Value::Object(members) => members.values_mut().any(|member| mutate(member, place, piece)),
        _ => false,
    }
}

fn schema() -> impl Strategy<Value = Value> {
    let changes = prop::collection::vec((0..60_usize, prop::sample::select(pieces())), 0..6);
    (prop::sample::select(seeds()), changes).prop_map(|(mut schema, changes)| {
        for (mut place, piece) in changes {
            mutate(&mut schema, &mut place, &piece);
        }
        schema
    })
}

fn document() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |schema: Value| schema.to_string().into_bytes();
    let damaged =
        (schema(), any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(schema, at, byte)| {
            let mut document = bytes(schema);
            let at = at.index(document.len());
            document[at] = byte;
            document
        });
    prop_oneof![
        8 => schema().prop_map(bytes),
        1 => damaged,
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn documents() -> impl Strategy<Value = Documents> {
    let facts = prop::sample::select(vec![
        &br#"{"summary":"a\u0007","params":"none"}"#[..],
        br#"{"summary":"a","summary":"b","idempotent":true,"idempotent":false}"#,
        br#"{"errors":[{"code":1e99,"message":""}]}"#,
        br#"[1]"#,
        b"",
    ]);
    let examples =
        prop::sample::select(vec![&br#"[{"params":{},"result":[[]]}]"#[..], br#"[{"params":1}"#, b"{}"]);
    (facts, document(), document(), examples)
        .prop_map(|(facts, params, result, examples)| [facts.to_vec(), params, result, examples.to_vec()])
}

/// `JACKFIELD_TEST_DOCUMENTS` sets the number of documents.
fn cases() -> u32 {
    let count = std::env::var("JACKFIELD_TEST_DOCUMENTS").ok().and_then(|count| count.parse().ok());
    count.unwrap_or(2_000_u32).div_ceil(4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_and_compares_any_documents(old in documents(), new in documents()) {
        let (old, new) = (contract(&old), contract(&new));

        for contract in [&old, &new] {
            let with_itself = compare(contract, contract);
            prop_assert_ne!(with_itself.verdict(), Verdict::Incompatible, "{:?}: {:?}", texts(&with_itself), contract);
        }
        let findings = compare(&old, &new);
        prop_assert!(findings.breaking.len() <= 101 && findings.unknown.len() <= 101);
        prop_assert_eq!(compare(&old, &new), findings);
    }
}

fn definitions(count: usize, definition: impl Fn(usize) -> Value) -> Value {
    let definitions: Map<_, _> = (0..count).map(|at| (format!("D{at}"), definition(at))).collect();
    json!({ "$ref": "#/$defs/D0", "$defs": definitions })
}

fn reference(at: usize) -> Value {
    json!({ "$ref": format!("#/$defs/D{at}") })
}

/// Schemas that would take exponential or quadratic time, or a deep stack.
fn costly() -> Vec<(&'static str, Value)> {
    let to = |at: usize, count: usize| reference((at + 1) % count);
    vec![
        ("a reference to itself", definitions(1, |_| reference(0))),
        ("a circle of references", definitions(2, |at| to(at, 2))),
        ("a long circle of references", definitions(5_000, |at| to(at, 5_000))),
        (
            "a long chain of objects",
            definitions(
                4_000,
                |at| json!({ "type": "object", "required": ["a"], "properties": { "a": to(at, 4_000) } }),
            ),
        ),
        (
            "a long chain of arrays",
            definitions(4_000, |at| json!({ "type": "array", "items": to(at, 4_000) })),
        ),
        (
            "unions of unions",
            definitions(200, |at| json!({ "anyOf": [to(at, 200), to(at, 200), to(at, 200)] })),
        ),
        (
            "all of all",
            definitions(200, |at| json!({ "allOf": [to(at, 200), to(at, 200), { "type": "object" }] })),
        ),
        (
            "members that double",
            definitions(
                200,
                |at| json!({ "type": "object", "properties": { "a": to(at, 200), "b": to(at, 200) }, "required": ["a", "b"] }),
            ),
        ),
        (
            "unions of objects that double",
            definitions(60, |at| {
                json!({ "anyOf": [
            { "type": "object", "properties": { "a": to(at, 60), "b": to(at, 60) } },
            { "type": "object", "properties": { "a": to(at, 60), "c": to(at, 60) }, "required": ["c"] },
        ] })
            }),
        ),
        (
            "everything refers to everything",
            definitions(70, |_| {
                let members: Map<_, _> = (0..70).map(|at| (format!("m{at}"), reference(at))).collect();
                json!({ "type": "object", "properties": members })
            }),
        ),
        (
            "products of unions",
            json!({ "allOf": vec![json!({ "anyOf": vec![json!({ "type": "object" }); 20] }); 20] }),
        ),
        (
            "many variants",
            json!({ "oneOf": (0..2_000).map(|at| json!({
            "type": "object", "properties": { "kind": { "const": at }, "x": { "type": "string" } }, "required": ["kind"],
        })).collect::<Vec<_>>() }),
        ),
        (
            "many objects that overlap",
            json!({ "anyOf": (0..2_000).map(|at| json!({
            "type": "object", "properties": { format!("p{at}"): { "type": "string" } },
        })).collect::<Vec<_>>() }),
        ),
        ("many values", json!({ "enum": (0..60_000).collect::<Vec<_>>() })),
        (
            "long values",
            json!({ "type": "array", "prefixItems": (0..400).map(|_| reference(0)).collect::<Vec<_>>(),
            "$defs": { "D0": { "enum": ["x".repeat(400_000)] } } }),
        ),
        (
            "many members",
            json!({ "type": "object", "properties":
            (0..15_000).map(|at| (format!("p{at}"), json!(true))).collect::<Map<_, _>>() }),
        ),
        (
            "huge lengths",
            json!({ "type": "array", "items": { "type": "string", "minLength": u64::MAX - 1 }, "minItems": u64::MAX }),
        ),
    ]
}

#[test]
fn ends_the_comparison_of_schemas_that_are_costly() {
    let costly = costly();
    for (at, (name, old)) in costly.iter().enumerate() {
        match Schema::from_value(old.clone()) {
            Ok(_) => {}
            Err(SchemaFault::TooLarge) => continue,
            Err(fault) => panic!("{name}: {fault}"),
        }
        let itself = compare_params(old, old);
        assert_ne!(itself.verdict(), Verdict::Incompatible, "{name}: {:?}", texts(&itself));

        // Each pair takes a second in a build without optimization.
        let others = costly.iter().cycle().skip(at + 1).take(2);
        for (_, new) in others.filter(|(_, new)| Schema::from_value(new.clone()).is_ok()) {
            let findings = compare_results(old, new);
            assert!(findings.breaking.len() <= 101 && findings.unknown.len() <= 101);
        }
    }
}

#[test]
fn compares_large_schemas_that_people_write() {
    let variants = |count: usize, kind: &str| {
        let variant = |at: usize| {
            let members = (0..20).map(|member| (format!("m{member}"), json!({ "type": kind })));
            let tag = [("type".to_owned(), json!({ "const": format!("event-{at}") }))];
            json!({ "type": "object", "properties": members.chain(tag).collect::<Map<_, _>>(), "required": ["type", "m0"] })
        };
        json!({ "oneOf": (0..count).map(variant).collect::<Vec<_>>() })
    };

    assert_eq!(
        compare_params(&variants(100, "string"), &variants(110, "string")).verdict(),
        Verdict::Compatible
    );
    let narrowed = compare_params(&variants(100, "number"), &variants(100, "integer"));
    assert_eq!(narrowed.breaking[0].to_string(), "m: params.m0: must be an integer now");
    assert_eq!(narrowed.breaking.len(), 20);

    let names =
        |count: usize| json!({ "enum": (0..count).map(|at| format!("name {at}")).collect::<Vec<_>>() });
    assert_eq!(compare_params(&names(5_000), &names(6_000)).verdict(), Verdict::Compatible);
    let removed = compare_params(&names(1_000), &names(600));
    assert_eq!(removed.breaking.len(), 101);
    assert_eq!(removed.breaking[100].to_string(), "300 more changes");
}

#[test]
fn cuts_long_texts_and_lists() {
    let mut facts = String::from(r#"{"errors":["#);
    for code in 0..500 {
        let comma = if code == 0 { "" } else { "," };
        write!(facts, r#"{comma}{{"code":{code},"message":"a\u0000b\n"}}"#).unwrap();
    }
    let long = "s".repeat(1 << 20);
    write!(facts, r#"],"summary":"{long}","description":"{long}","deprecated":"\u001b[2J"}}"#).unwrap();
    let examples = format!("[{}]", vec![r#"{"params":{}}"#; 500].join(","));
    let schema = json!({ "title": long, "description": long }).to_string();

    let read = contract(&[
        facts.into_bytes(),
        schema.clone().into_bytes(),
        schema.into_bytes(),
        examples.into_bytes(),
    ]);

    let method = read.method("m").unwrap();
    assert_eq!(method.facts.summary.as_ref().unwrap().chars().count(), 500);
    assert_eq!(method.facts.description.as_ref().unwrap().chars().count(), 8_000);
    assert_eq!(method.facts.deprecated.as_deref(), Some(" [2J"));
    assert_eq!((method.facts.errors.len(), method.examples.len()), (100, 100));
    assert_eq!(method.facts.errors[0].message, "a b ");
    let root = &method.result.as_ref().unwrap().root;
    assert_eq!(root.title.as_ref().unwrap().chars().count(), 500);
    assert_eq!(root.description.as_ref().unwrap().chars().count(), 8_000);
}

#[test]
fn refuses_documents_that_are_nested_too_deep() {
    for (open, close) in [("[", "]"), (r#"{"items":"#, "}"), (r#"{"anyOf":["#, "]}")] {
        let document = [open.repeat(100_000), "true".to_owned(), close.repeat(100_000)].concat();
        assert!(Schema::parse(document.as_bytes()).is_err());
        let read = contract(&[
            document.clone().into_bytes(),
            document.clone().into_bytes(),
            document.clone().into_bytes(),
            document.into_bytes(),
        ]);
        assert_eq!(read, Contract::of_names(["m"]));
    }
}
