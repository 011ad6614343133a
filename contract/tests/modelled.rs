//! The reader models the schemas that schemars writes for the types and attributes of serde.

#![allow(dead_code, missing_docs, reason = "the types exist for their schemas")]

mod support;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::{NonZeroI32, NonZeroU32};

use jackfield_contract::{Node, Schema, Shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! derive {
    ($($item:item)*) => { $(#[derive(Serialize, Deserialize, JsonSchema)] $item)* };
}

derive! {
    struct Primitives {
        bytes: (u8, i8, u16, i16),
        words: (u32, i32, u64, i64, u128, i128, usize, isize),
        not_zero: NonZeroU32,
        letter: char,
        floats: (f32, f64),
        nothing: (),
        text: Cow<'static, str>,
        duration: std::time::Duration,
        time: std::time::SystemTime,
        path: std::path::PathBuf,
        address: std::net::IpAddr,
        range: std::ops::Range<u8>,
        outcome: Result<u8, String>,
        nested: Option<Option<Box<Small>>>,
    }

    struct Collections {
        list: Vec<u8>,
        set: BTreeSet<u8>,
        map: HashMap<String, u8>,
        numbers: BTreeMap<u32, u8>,
        signed: HashMap<i64, u8>,
        by_plain: BTreeMap<Plain, u8>,
        pair: (u8, String),
        array: [u8; 3],
        none: [u8; 0],
        value: Option<Value>,
        object: Map<String, Value>,
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Plain { A, B }

    enum External { Unit, New(u8), Tuple(u8, u8), Struct { a: u8, b: Option<u8> } }

    #[serde(tag = "type", rename_all = "camelCase")]
    enum Internal { UnitVariant, New(Small), Struct { a_b: u8 } }

    #[serde(tag = "t", content = "c")]
    enum Adjacent { Unit, New(u8), Tuple(u8, u8), Struct { a: u8 } }

    #[serde(untagged)]
    enum Untagged { Unit, New(u8), Text(String), Struct { a: u8 } }

    #[serde(tag = "k", deny_unknown_fields)]
    enum Closed { A, B { x: u8 } }

    #[derive(Default)]
    #[serde(default)]
    struct Small { x: u8, y: String, #[serde(skip)] z: u8, w: Option<u8>, #[serde(rename = "5")] five: u8 }

    struct FlatStruct { a: u8, #[serde(flatten)] rest: Small }
    struct FlatOption { a: u8, #[serde(flatten)] rest: Option<Small> }
    struct FlatMap { a: u8, #[serde(flatten)] rest: HashMap<String, u32> }
    struct FlatEnum { a: u8, #[serde(flatten)] rest: Internal }
    struct FlatEnums { a: u8, #[serde(flatten)] one: Internal, #[serde(flatten)] two: Adjacent }
    struct FlatOptionalEnum { a: u8, #[serde(flatten)] rest: Option<Internal> }

    #[serde(deny_unknown_fields)]
    struct Strict { a: u8, #[serde(default)] b: Option<Small> }

    #[serde(transparent)]
    struct Transparent { a: Small }
    struct Newtype(u8);
    struct Tuple(u8, #[serde(default)] u8);
    struct Unit;
    struct Empty {}
    struct Tree { children: Vec<Tree>, up: Option<Box<Tree>> }

    struct Siblings {
        /// A text beside a reference.
        #[serde(default)]
        small: Small,
        #[deprecated]
        plain: Plain,
        #[schemars(length(min = 1, max = 5), regex(pattern = "^a$"))]
        text: String,
        #[schemars(range(min = 1, max = 10))]
        number: u32,
        #[schemars(email)]
        email: String,
        #[schemars(inner(length(min = 1)))]
        texts: Vec<String>,
    }
}

/// Returns the places of a schema that are not modelled.
fn unmodelled(schema: &Schema) -> Vec<String> {
    fn visit(at: &str, node: &Node, found: &mut Vec<String>) {
        match &node.shape {
            Shape::Opaque => found.push(at.to_owned()),
            Shape::Union(members) => members.iter().for_each(|member| visit(at, member, found)),
            Shape::Array(array) => {
                array
                    .prefix
                    .iter()
                    .chain([&array.items])
                    .for_each(|node| visit(&format!("{at}[]"), node, found));
            }
            Shape::Object(object) => {
                for property in &object.properties {
                    visit(&format!("{at}.{}", property.name), &property.node, found);
                }
                visit(&format!("{at}.*"), &object.additional, found);
            }
            _ => {}
        }
    }

    let mut found = Vec::new();
    visit("", &schema.root, &mut found);
    schema.definitions.iter().for_each(|(name, node)| visit(name, node, &mut found));
    found
}

fn schemas<T: JsonSchema>() -> [Schema; 2] {
    [support::params_schema::<T>(), support::result_schema::<T>()]
        .map(|document| Schema::from_value(document).expect("a schema"))
}

#[test]
fn models_the_types_and_attributes_of_serde() {
    macro_rules! check {
        ($($type:ty),* $(,)?) => { $(for schema in schemas::<$type>() {
            assert_eq!(unmodelled(&schema), Vec::<String>::new(), "{}", stringify!($type));
            let compared = support::compare_params(&schema.document, &schema.document);
            support::assert_compatible(stringify!($type), &compared);
            let compared = support::compare_results(&schema.document, &schema.document);
            support::assert_compatible(stringify!($type), &compared);
        })* };
    }
    check!(
        Primitives,
        Collections,
        Plain,
        External,
        Internal,
        Adjacent,
        Untagged,
        Closed,
        Small,
        FlatStruct,
        FlatOption,
        FlatMap,
        FlatEnum,
        FlatEnums,
        FlatOptionalEnum,
        Strict,
        Transparent,
        Newtype,
        Tuple,
        Unit,
        Empty,
        Tree,
        Siblings,
        Option<Tree>,
        Box<Tree>,
        Vec<Tree>,
        (),
        Option<Internal>,
        Value,
    );
}

#[test]
fn compares_what_is_not_modelled_by_its_text() {
    derive! {
        struct Old { a: NonZeroI32, b: Option<Small> }
        struct New { /** A remark. */ a: NonZeroI32, b: Option<Small>, c: Option<u8> }
        struct Other { #[schemars(range(min = 0))] a: NonZeroI32, b: Option<Small> }
    }
    let [old, _] = schemas::<Old>();
    assert_eq!(unmodelled(&old), [".a"]);

    let new = support::compare_params(&old.document, &support::params_schema::<New>());
    let other = support::compare_params(&old.document, &support::params_schema::<Other>());

    support::assert_compatible("with a remark", &new);
    let change = "? params.a: is described by means that are not compared, and has changed";
    assert_eq!(support::texts(&other), [change]);
}

#[test]
fn gives_the_variant_of_a_tagged_enum_all_its_members() {
    let [schema, _] = schemas::<Internal>();
    let Shape::Union(variants) = &schema.root.shape else { panic!() };
    let names = |node: &Node| match &node.shape {
        Shape::Object(object) => object.properties.iter().map(|property| property.name.clone()).collect(),
        _ => Vec::new(),
    };
    let names: Vec<_> = variants.iter().map(names).collect();
    assert_eq!(names, [vec!["type"], vec!["type", "5", "w", "x", "y"], vec!["type", "a_b"]]);
}
