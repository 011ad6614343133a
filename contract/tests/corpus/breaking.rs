//! Edits that break callers, and what is reported about each.

use crate::edit;
use crate::support::texts;

macro_rules! derive {
    ($($item:item)*) => { $(#[derive(Serialize, Deserialize, JsonSchema)] $item)* };
}

#[test]
fn finds_each_change_of_params_that_breaks_callers() {
    let mut edits = Vec::new();

    edit!(edits, "a new required param", params,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: u32, b: String } } });
    edit!(edits, "an optional param became required", params,
        { derive! { struct T { a: Option<u32> } } } => { derive! { struct T { a: u32 } } });
    edit!(edits, "a param lost its default", params,
        { derive! { struct T { #[serde(default)] a: u32 } } } => { derive! { struct T { a: u32 } } });
    edit!(edits, "a param has another name", params,
        { derive! { struct T { device: u32 } } } => { derive! { #[serde(rename_all = "UPPERCASE")] struct T { device: u32 } } });
    edit!(edits, "unknown params are refused", params,
        { derive! { struct T { a: u32 } } } => { derive! { #[serde(deny_unknown_fields)] struct T { a: u32 } } });
    edit!(edits, "a param of a closed struct was removed", params,
        { derive! { #[serde(deny_unknown_fields)] struct T { a: u32, b: Option<u8> } } }
        => { derive! { #[serde(deny_unknown_fields)] struct T { a: u32 } } });
    edit!(edits, "text became an integer", params,
        { derive! { struct T { id: String } } } => { derive! { struct T { id: u64 } } });
    edit!(edits, "optional text became an optional object", params,
        { derive! { struct T { id: Option<String> } } }
        => { derive! { struct T { id: Option<Id> } struct Id { a: u8 } } });
    edit!(edits, "u64 became u32", params,
        { derive! { struct T { a: u64 } } } => { derive! { struct T { a: u32 } } });
    edit!(edits, "a signed integer became unsigned", params,
        { derive! { struct T { a: i64 } } } => { derive! { struct T { a: u64 } } });
    edit!(edits, "a float became an integer", params,
        { derive! { struct T { a: f64 } } } => { derive! { struct T { a: i64 } } });
    edit!(edits, "zero is refused", params,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: NonZeroU32 } } });
    edit!(edits, "a variant was removed", params,
        { derive! { struct T { c: C } enum C { Red, Green } } } => { derive! { struct T { c: C } enum C { Red } } });
    edit!(edits, "a variant has another name", params,
        { derive! { enum T { Red, Green } } } => { derive! { #[serde(rename_all = "lowercase")] enum T { Red, Green } } });
    edit!(edits, "text became an enum", params,
        { derive! { struct T { c: String } } } => { derive! { struct T { c: C } enum C { Red, Green } } });
    edit!(edits, "a variant of a tagged enum was removed", params,
        { derive! { #[serde(tag = "type")] enum T { A { x: u8 }, B, C { y: u8 } } } }
        => { derive! { #[serde(tag = "type")] enum T { A { x: u8 }, B } } });
    edit!(edits, "a field of a variant is required", params,
        { derive! { struct T { event: E } #[serde(tag = "type")] enum E { A { x: u8 }, B } } }
        => { derive! { struct T { event: E } #[serde(tag = "type")] enum E { A { x: u8, y: u8 }, B } } });
    edit!(edits, "a variant of an externally tagged enum was removed", params,
        { derive! { enum T { A { x: u8 }, B(u8), C } } } => { derive! { enum T { A { x: u8 }, C } } });
    edit!(edits, "another tag", params,
        { derive! { #[serde(tag = "type")] enum T { A { x: u8 } } } }
        => { derive! { #[serde(tag = "kind")] enum T { A { x: u8 } } } });
    edit!(edits, "one of two types is refused", params,
        { derive! { struct T { id: Id } #[serde(untagged)] enum Id { Number(u32), Name(String) } } }
        => { derive! { struct T { id: u32 } } });
    edit!(edits, "a member of an untagged struct is required", params,
        { derive! { #[serde(untagged)] enum T { A { a: u8 }, B { b: u8, c: Option<u8> } } } }
        => { derive! { #[serde(untagged)] enum T { A { a: u8, x: u8 }, B { b: u8, c: Option<u8> } } } });
    edit!(edits, "items have another type", params,
        { derive! { struct T { ids: Vec<String> } } } => { derive! { struct T { ids: Vec<u64> } } });
    edit!(edits, "a tuple is longer", params,
        { derive! { struct T { at: (f64, f64) } } } => { derive! { struct T { at: (f64, f64, f64) } } });
    edit!(edits, "a vector became an array of fixed length", params,
        { derive! { struct T { a: Vec<u8> } } } => { derive! { struct T { a: [u8; 3] } } });
    edit!(edits, "values of a map have another type", params,
        { derive! { struct T { tags: HashMap<String, String> } } } => { derive! { struct T { tags: HashMap<String, u8> } } });
    edit!(edits, "keys of a map are integers", params,
        { derive! { struct T { tags: HashMap<String, u8> } } } => { derive! { struct T { tags: HashMap<u32, u8> } } });
    edit!(edits, "a shorter length", params,
        { derive! { struct T { #[schemars(length(min = 1, max = 20))] a: String } } }
        => { derive! { struct T { #[schemars(length(min = 2, max = 10))] a: String } } });
    edit!(edits, "deep inside", params,
        { derive! { struct T { list: Vec<Outer> } struct Outer { inner: Option<Inner> } struct Inner { a: u32 } } }
        => { derive! { struct T { list: Vec<Outer> } struct Outer { inner: Option<Inner> } struct Inner { a: u32, b: u8 } } });
    edit!(edits, "in a recursive type", params,
        { derive! { struct T { name: Option<String>, children: Vec<T> } } }
        => { derive! { struct T { name: String, children: Vec<T> } } });
    edit!(edits, "in a struct that is used twice", params,
        { derive! { struct T { a: Inner, b: Inner } struct Inner { x: u32 } } }
        => { derive! { struct T { a: Inner, b: Inner } struct Inner { x: u32, y: u32 } } });
    edit!(edits, "in a flattened struct", params,
        { derive! { struct T { a: u8, #[serde(flatten)] page: Page } struct Page { limit: Option<u32> } } }
        => { derive! { struct T { a: u8, #[serde(flatten)] page: Page } struct Page { limit: u32 } } });
    edit!(edits, "any value got a type", params,
        { derive! { struct T { a: Value } } } => { derive! { struct T { a: Duration } } });

    let expected: &[(&str, &[&str])] = &[
        ("a new required param", &["params.b: is required now"]),
        (
            "an optional param became required",
            &["params.a: is required now", "params.a: admits no null any more"],
        ),
        ("a param lost its default", &["params.a: is required now"]),
        ("a param has another name", &["params.DEVICE: is required now"]),
        ("unknown params are refused", &["params: admits no further members any more"]),
        ("a param of a closed struct was removed", &["params.b: is refused now"]),
        ("text became an integer", &["params.id: is an integer now, was text"]),
        ("optional text became an optional object", &["params.id: admits no text any more"]),
        ("u64 became u32", &["params.a: must be at most 4294967295 now"]),
        ("a signed integer became unsigned", &["params.a: must be at least 0 now"]),
        ("a float became an integer", &["params.a: must be an integer now"]),
        ("zero is refused", &["params.a: must be at least 1 now"]),
        ("a variant was removed", &["params.c: admits no \"Green\" any more"]),
        (
            "a variant has another name",
            &["params: admits no \"Red\" any more", "params: admits no \"Green\" any more"],
        ),
        ("text became an enum", &["params.c: admits only certain values now"]),
        ("a variant of a tagged enum was removed", &["params: admits no object with type \"C\" any more"]),
        ("a field of a variant is required", &["params.event.y: is required now"]),
        ("a variant of an externally tagged enum was removed", &["params: admits no object with B any more"]),
        ("another tag", &["params.kind: is required now"]),
        ("one of two types is refused", &["params.id: admits no text any more"]),
        ("a member of an untagged struct is required", &["params: admits no object with a any more"]),
        ("items have another type", &["params.ids[]: is an integer now, was text"]),
        ("a tuple is longer", &["params.at: must have at least 3 items now"]),
        (
            "a vector became an array of fixed length",
            &["params.a: must have at least 3 items now", "params.a: must have at most 3 items now"],
        ),
        ("values of a map have another type", &["params.tags.*: is an integer now, was text"]),
        ("keys of a map are integers", &["params.tags: admits only integers as names now"]),
        (
            "a shorter length",
            &[
                "params.a: must have at least 2 characters now",
                "params.a: must have at most 10 characters now",
            ],
        ),
        ("deep inside", &["params.list[].inner.b: is required now"]),
        ("in a recursive type", &["params.name: is required now", "params.name: admits no null any more"]),
        ("in a struct that is used twice", &["params.a.y: is required now", "params.b.y: is required now"]),
        (
            "in a flattened struct",
            &["params.limit: is required now", "params.limit: admits no null any more"],
        ),
        ("any value got a type", &["params.a: is an object now, was any value"]),
    ];
    check(edits, expected);
}

#[test]
fn finds_each_change_of_a_result_that_breaks_callers() {
    let mut edits = Vec::new();

    edit!(edits, "a member was removed", result,
        { derive! { struct T { a: u32, b: u32 } } } => { derive! { struct T { a: u32 } } });
    edit!(edits, "a member may be null", result,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: Option<u32> } } });
    edit!(edits, "a member may be missing", result,
        { derive! { struct T { a: Option<u32> } } }
        => { derive! { struct T { #[serde(skip_serializing_if = "Option::is_none")] a: Option<u32> } } });
    edit!(edits, "a new variant", result,
        { derive! { struct T { status: S } enum S { Online, Offline } } }
        => { derive! { struct T { status: S } enum S { Online, Offline, Lost } } });
    edit!(edits, "an enum became text", result,
        { derive! { struct T { status: S } enum S { Online, Offline } } } => { derive! { struct T { status: String } } });
    edit!(edits, "u32 became u64", result,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: u64 } } });
    edit!(edits, "u8 became i16", result,
        { derive! { struct T { a: u8 } } } => { derive! { struct T { a: i16 } } });
    edit!(edits, "an integer became a float", result,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: f64 } } });
    edit!(edits, "a number became text", result,
        { derive! { struct T { a: u64 } } } => { derive! { struct T { a: String } } });
    edit!(edits, "an object became an array", result,
        { derive! { struct T { a: u64 } } } => { derive! { struct T(u64, u64); } });
    edit!(edits, "a new variant of a tagged enum", result,
        { derive! { struct T { events: Vec<E> } #[serde(tag = "type")] enum E { A { x: u8 }, B } } }
        => { derive! { struct T { events: Vec<E> } #[serde(tag = "type")] enum E { A { x: u8 }, B, C } } });
    edit!(edits, "a new variant of an externally tagged enum", result,
        { derive! { enum T { A(u8), B } } } => { derive! { enum T { A(u8), B, C(u8), D } } });
    edit!(edits, "a field of a variant may be null", result,
        { derive! { #[serde(tag = "type")] enum T { A { x: u8 }, B } } }
        => { derive! { #[serde(tag = "type")] enum T { A { x: Option<u8> }, B } } });
    edit!(edits, "one more type", result,
        { derive! { struct T { id: u32 } } }
        => { derive! { struct T { id: Id } #[serde(untagged)] enum Id { Number(u32), Name(String) } } });
    edit!(edits, "a new member of a closed struct", result,
        { derive! { #[serde(deny_unknown_fields)] struct T { a: u32 } } }
        => { derive! { #[serde(deny_unknown_fields)] struct T { a: u32, b: u8 } } });
    edit!(edits, "values of a map may be null", result,
        { derive! { struct T { a: BTreeMap<String, u8> } } }
        => { derive! { struct T { a: BTreeMap<String, Option<u8>> } } });
    edit!(edits, "any value", result,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: Value } } });
    edit!(edits, "a longer text", result,
        { derive! { struct T { a: char } } } => { derive! { struct T { a: String } } });
    edit!(edits, "a vector instead of an array of fixed length", result,
        { derive! { struct T { a: [u8; 3] } } } => { derive! { struct T { a: Vec<u8> } } });
    edit!(edits, "in a recursive type", result,
        { derive! { struct T { value: u8, next: Option<Box<T>> } } }
        => { derive! { struct T { value: u16, next: Option<Box<T>> } } });

    let expected: &[(&str, &[&str])] = &[
        ("a member was removed", &["result.b: is missing now"]),
        ("a member may be null", &["result.a: may be null now"]),
        ("a member may be missing", &["result.a: may be missing now"]),
        ("a new variant", &["result.status: may be \"Lost\" now"]),
        ("an enum became text", &["result.status: may be any text now"]),
        ("u32 became u64", &["result.a: may be greater than 4294967295 now"]),
        ("u8 became i16", &["result.a: may be less than 0 now", "result.a: may be greater than 255 now"]),
        ("an integer became a float", &["result.a: may be a fraction now"]),
        ("a number became text", &["result.a: is text now, was an integer"]),
        ("an object became an array", &["result: is an array now, was an object"]),
        ("a new variant of a tagged enum", &["result.events[]: may be an object with type \"C\" now"]),
        (
            "a new variant of an externally tagged enum",
            &["result: may be \"D\" now", "result: may be an object with C now"],
        ),
        ("a field of a variant may be null", &["result.x: may be null now"]),
        ("one more type", &["result.id: may be text now"]),
        (
            "a new member of a closed struct",
            &["result.b: is new, and the old schema admits no further members"],
        ),
        ("values of a map may be null", &["result.a.*: may be null now"]),
        ("any value", &["result.a: may be any value now"]),
        (
            "a longer text",
            &[
                "result.a: may have fewer than 1 character now",
                "result.a: may have more than 1 character now",
            ],
        ),
        (
            "a vector instead of an array of fixed length",
            &["result.a: may have fewer than 3 items now", "result.a: may have more than 3 items now"],
        ),
        ("in a recursive type", &["result.value: may be greater than 255 now"]),
    ];
    check(edits, expected);
}

#[track_caller]
fn check(edits: Vec<(&str, jackfield_contract::Comparison)>, expected: &[(&str, &[&str])]) {
    let found: Vec<_> = edits.iter().map(|(name, comparison)| (*name, texts(comparison))).collect();
    for (name, texts) in &found {
        println!("({name:?}, &{texts:?}),");
    }
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, texts)| (*name, texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()))
        .collect();
    assert_eq!(found, expected);
    assert!(found.len() >= 20, "{} edits", found.len());
}
