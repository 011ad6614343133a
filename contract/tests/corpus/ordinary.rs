//! Edits that break no caller.

use crate::edit;
use crate::support::assert_compatible;

macro_rules! derive {
    ($($item:item)*) => { $(#[derive(Serialize, Deserialize, JsonSchema)] $item)* };
}

#[test]
fn raises_no_alarm_for_ordinary_edits() {
    let mut edits = Vec::new();

    edit!(edits, "a new optional param", params,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: u32, b: Option<String> } } });
    edit!(edits, "a new param with a default", params,
        { derive! { struct T { a: u32 } } }
        => { derive! { struct T { a: u32, #[serde(default)] b: Vec<String> } } });
    edit!(edits, "a new optional param of a closed struct", params,
        { derive! { #[serde(deny_unknown_fields)] struct T { a: u32 } } }
        => { derive! { #[serde(deny_unknown_fields)] struct T { a: u32, b: Option<u8> } } });
    edit!(edits, "a new member of a result", result,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: u32, b: String } } });
    edit!(edits, "a new optional member of a result", result,
        { derive! { struct T { a: u32 } } }
        => { derive! { struct T { a: u32, #[serde(skip_serializing_if = "Option::is_none")] b: Option<u8> } } });
    edit!(edits, "another name of a type", both,
        { derive! { struct Inner { a: u32 } struct T { inner: Inner } } }
        => { derive! { struct Renamed { a: u32 } struct T { inner: Renamed } } });
    edit!(edits, "doc comments", both,
        { derive! { struct T { a: u32, c: Colour } enum Colour { Red, Green } } }
        => { derive! {
            /// A thing.
            struct T {
                /// How much.
                a: u32,
                /// Which one.
                c: Colour,
            }
            /// A colour.
            enum Colour {
                /// As blood.
                Red,
                Green,
            }
        } });
    edit!(edits, "another order of fields and variants", both,
        { derive! { struct T { a: u32, b: String, c: Colour } enum Colour { Red, Green } } }
        => { derive! { struct T { c: Colour, b: String, a: u32 } enum Colour { Green, Red } } });
    edit!(edits, "a param became optional", params,
        { derive! { struct T { a: u32, b: String } } } => { derive! { struct T { a: u32, b: Option<String> } } });
    edit!(edits, "a param got a default", params,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { #[serde(default)] a: u32 } } });
    edit!(edits, "all params got defaults", params,
        { derive! { struct T { a: u32, b: String } } }
        => { derive! { #[derive(Default)] #[serde(default)] struct T { a: u32, b: String } } });
    edit!(edits, "another default", params,
        { fn one() -> u32 { 1 } derive! { struct T { #[serde(default = "one")] a: u32 } } }
        => { fn two() -> u32 { 2 } derive! { struct T { #[serde(default = "two")] a: u32 } } });
    edit!(edits, "a new variant of an enum in params", params,
        { derive! { struct T { c: C } enum C { Red, Green } } }
        => { derive! { struct T { c: C } enum C { Red, Green, Blue } } });
    edit!(edits, "a variant of an enum in a result was removed", result,
        { derive! { struct T { c: C } enum C { Red, Green, Blue } } }
        => { derive! { struct T { c: C } enum C { Red, Green } } });
    edit!(edits, "an enum became free text in params", params,
        { derive! { struct T { c: C } enum C { Red, Green } } } => { derive! { struct T { c: String } } });
    edit!(edits, "free text became an enum in a result", result,
        { derive! { struct T { c: String } } } => { derive! { struct T { c: C } enum C { Red, Green } } });
    edit!(edits, "u32 became u64 in params", params,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: u64 } } });
    edit!(edits, "u8 became i32 in params", params,
        { derive! { struct T { a: u8 } } } => { derive! { struct T { a: i32 } } });
    edit!(edits, "an integer became a float in params", params,
        { derive! { struct T { a: u64 } } } => { derive! { struct T { a: f64 } } });
    edit!(edits, "u64 became u32 in a result", result,
        { derive! { struct T { a: u64 } } } => { derive! { struct T { a: u32 } } });
    edit!(edits, "f32 became f64", both,
        { derive! { struct T { a: f32 } } } => { derive! { struct T { a: f64 } } });
    edit!(edits, "usize became u64", both,
        { derive! { struct T { a: usize } } } => { derive! { struct T { a: u64 } } });
    edit!(edits, "fields moved into a flattened struct", both,
        { derive! { struct T { a: u32, b: String, c: Option<u8> } } }
        => { derive! { struct T { a: u32, #[serde(flatten)] rest: Rest } struct Rest { b: String, c: Option<u8> } } });
    edit!(edits, "a struct in place became a definition of its own, used twice", both,
        { derive! { struct T { a: (u8, u8), b: (u8, u8) } } }
        => { derive! { struct T { a: Pair, b: Pair } struct Pair(u8, u8); } });
    edit!(edits, "a newtype around a param", both,
        { derive! { struct T { id: String } } } => { derive! { struct T { id: Id } struct Id(String); } });
    edit!(edits, "a transparent wrapper", both,
        { derive! { struct T { a: u32 } } }
        => { derive! { #[serde(transparent)] struct T { inner: Inner } struct Inner { a: u32 } } });
    edit!(edits, "a box", both,
        { derive! { struct T { a: Inner } struct Inner { b: u8 } } }
        => { derive! { struct T { a: Box<Inner> } struct Inner { b: u8 } } });
    edit!(edits, "String became Cow", both,
        { derive! { struct T { a: String } } } => { derive! { struct T { a: Cow<'static, str> } } });
    edit!(edits, "HashMap became BTreeMap", both,
        { derive! { struct T { a: HashMap<String, u8> } } } => { derive! { struct T { a: BTreeMap<String, u8> } } });
    edit!(edits, "an array of fixed length became a vector in params", params,
        { derive! { struct T { a: [u8; 3] } } } => { derive! { struct T { a: Vec<u8> } } });
    edit!(edits, "a vector became a set in a result", result,
        { derive! { struct T { a: Vec<u8> } } } => { derive! { struct T { a: BTreeSet<u8> } } });
    edit!(edits, "a set became a vector in params", params,
        { derive! { struct T { a: BTreeSet<u8> } } } => { derive! { struct T { a: Vec<u8> } } });
    edit!(edits, "a new variant of a tagged enum in params", params,
        { derive! { #[serde(tag = "type")] enum T { A { x: u8 }, B } } }
        => { derive! { #[serde(tag = "type")] enum T { A { x: u8 }, B, C { y: String } } } });
    edit!(edits, "a new variant of an adjacently tagged enum in params", params,
        { derive! { #[serde(tag = "t", content = "c")] enum T { A { x: u8 }, B(u8) } } }
        => { derive! { #[serde(tag = "t", content = "c")] enum T { A { x: u8 }, B(u8), C(String, u8) } } });
    edit!(edits, "a new variant of an externally tagged enum in params", params,
        { derive! { enum T { A { x: u8 }, B(u8) } } } => { derive! { enum T { A { x: u8 }, B(u8), C } } });
    edit!(edits, "a new optional field of a variant", params,
        { derive! { #[serde(tag = "type")] enum T { A { x: u8 }, B } } }
        => { derive! { #[serde(tag = "type")] enum T { A { x: u8, y: Option<u8> }, B } } });
    edit!(edits, "the fields of a variant became a struct", both,
        { derive! { #[serde(tag = "type")] enum T { A { x: u8 }, B } } }
        => { derive! { #[serde(tag = "type")] enum T { A(A), B } struct A { x: u8 } } });
    edit!(edits, "a tagged enum became a struct with a flattened enum", both,
        { derive! { #[serde(tag = "type")] enum T { A { id: u8, x: u8 }, B { id: u8 } } } }
        => { derive! {
            struct T { id: u8, #[serde(flatten)] kind: Kind }
            #[serde(tag = "type")] enum Kind { A { x: u8 }, B }
        } });
    edit!(edits, "one of two types in params", params,
        { derive! { struct T { id: u32 } } }
        => { derive! { struct T { id: Id } #[serde(untagged)] enum Id { Number(u32), Name(String) } } });
    edit!(edits, "a recursive type got an optional field", params,
        { derive! { struct T { name: String, children: Vec<T> } } }
        => { derive! { struct T { name: String, children: Vec<T>, note: Option<String> } } });
    edit!(edits, "a recursive type moved into a definition", both,
        { derive! { struct T { children: Vec<T>, up: Option<Box<T>> } } }
        => { derive! { struct T { children: Vec<Node>, up: Option<Box<Node>> }
            struct Node { children: Vec<Node>, up: Option<Box<Node>> } } });
    edit!(edits, "deny_unknown_fields was removed", both,
        { derive! { #[serde(deny_unknown_fields)] struct T { a: u32 } } } => { derive! { struct T { a: u32 } } });
    edit!(edits, "a param that is not used any more was removed", params,
        { derive! { struct T { a: u32, b: Option<String> } } } => { derive! { struct T { a: u32 } } });
    edit!(edits, "a field that is not described was added", both,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: u32, #[serde(skip)] b: u8 } } });
    edit!(edits, "an alias", both,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { #[serde(alias = "b")] a: u32 } } });
    edit!(edits, "deprecated", both,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { #[deprecated] a: u32 } } });
    edit!(edits, "a typed param takes any value", params,
        { derive! { struct T { a: u32 } } } => { derive! { struct T { a: Value } } });
    edit!(edits, "any value of a result got a type", result,
        { derive! { struct T { a: Value } } } => { derive! { struct T { a: Duration } } });
    edit!(edits, "an optional member of a result is always there", result,
        { derive! { struct T { #[serde(skip_serializing_if = "Option::is_none")] a: Option<u8> } } }
        => { derive! { struct T { a: u8 } } });
    edit!(edits, "NonZeroU32 became u32 in params", params,
        { derive! { struct T { a: NonZeroU32 } } } => { derive! { struct T { a: u32 } } });
    edit!(edits, "keys of a map became text in params", params,
        { derive! { struct T { a: HashMap<u32, u8> } } } => { derive! { struct T { a: HashMap<i64, u8> } } });
    edit!(edits, "params of a flattened map", params,
        { derive! { struct T { a: u8 } } }
        => { derive! { struct T { a: u8, #[serde(flatten)] rest: Map<String, Value> } } });
    edit!(edits, "optional params as a whole", params,
        { derive! { struct Inner { a: u8 } } type T = Inner; } => { derive! { struct Inner { a: u8 } } type T = Option<Inner>; });
    edit!(edits, "a range was widened", params,
        { derive! { struct T { #[schemars(range(min = 1, max = 10))] a: u32 } } }
        => { derive! { struct T { #[schemars(range(min = 0, max = 100))] a: u32 } } });
    edit!(edits, "a length was narrowed in a result", result,
        { derive! { struct T { a: String } } } => { derive! { struct T { #[schemars(length(max = 10))] a: String } } });

    let count = edits.len();
    for (name, comparison) in edits {
        assert_compatible(name, &comparison);
    }
    println!("{count} ordinary edits without an alarm");
    assert!(count >= 30, "{count}");
}
