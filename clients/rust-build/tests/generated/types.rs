//! How the types of the generated files write params and read results.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::hostile::r#mod as hostile;
use super::shop::shop::{self, AddParams, Event, EventNoted, FindParams, Found, Kind, Order, Payment, State};

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn write(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// Reads a value and writes it again.
fn check<T: DeserializeOwned + Serialize>(value: &Value) {
    assert_eq!(write(&read::<T>(value.clone())), *value);
}

#[test]
fn leaves_out_optional_members() {
    let mut params = AddParams::new("pen", Kind::Express, Payment::Invoice);
    let least = json!({ "articleId": "pen", "kind": "express", "payment": { "method": "invoice" } });
    assert_eq!(write(&params), least);
    assert_eq!(read::<AddParams>(least), params);

    params.count = Some(3);
    params.r#type = Some("blue".to_owned());
    assert_eq!((&write(&params)["count"], &write(&params)["type"]), (&json!(3), &json!("blue")));
    assert_eq!(write(&FindParams::default()), json!({}));
}

#[test]
fn reads_values_that_a_later_host_returns() {
    let order: Order = read(json!({
        "id": u64::MAX, "state": "stolen", "kind": "normal", "further": true,
        "history": ["Opened", { "Moved": "in-transit" }, { "Noted": { "by": "me" } }, { "Sold": 1 }, "Lost"],
        "position": [1.0, -2.0], "rgb": [0, 1, 255], "labels": { "a": "b" }, "extra": [null],
    }));

    assert_eq!(
        (order.id, order.state, order.kind),
        (u64::MAX, State::Unknown("stolen".into()), Kind::Normal)
    );
    let history = [
        Event::Opened,
        Event::Moved(State::InTransit),
        Event::Noted(EventNoted { by: "me".to_owned() }),
        Event::Unknown(json!({ "Sold": 1 })),
        Event::Unknown(json!("Lost")),
    ];
    assert_eq!(order.history.as_deref(), Some(&history[..]));
    assert_eq!((order.position, order.rgb), (Some((1.0, -2.0)), Some([0, 1, 255])));
    check::<Vec<Event>>(&json!(["Opened", { "Moved": "open" }, { "Noted": { "by": "x" } }, { "Sold": 1 }]));
}

#[test]
fn tells_variants_apart() {
    let found: Vec<Found> = read(json!([1, 1.5, "a", { "id": 1 }, { "id": 1, "size": 2 }, null]));
    assert!(matches!(
        &*found,
        [
            Found::Integer(1),
            Found::Number(_),
            Found::Text(_),
            Found::Small(_),
            Found::Large(_),
            Found::Unknown(Value::Null)
        ]
    ));
    check::<Payment>(&json!({ "method": "card", "number": "4" }));
    check::<hostile::Vec2>(&json!({ "type": "\"\n", "x": { "type": "Unknown" } }));
    check::<hostile::Vec3>(&json!({ "type": "later", "y": 1 }));
    check::<hostile::Error2>(&json!({ "Err": { "Err": { "Ok": null } } }));
}

#[test]
fn keeps_names_that_are_no_identifiers() {
    for name in ["Self", "self", "None", "", "-", "\"\n", "Unknown", "unknown", "é", "something else"] {
        check::<hostile::Option2>(&json!(name));
    }
    check::<hostile::Result2>(&json!({
        "self": "Some", "Self": {}, "SELF": 1, "fn": "", "": "a", "-": "b", "additional": 1, "missing": null,
        "a b": "1", "a_b": "2", "aB": "3", "\"\\\n\u{202e}": "4", "gen": "5", "others": 7,
    }));
}

#[test]
fn reads_types_that_contain_themselves() {
    let parent = json!({ "id": 3, "parts": [] });
    check::<Option<shop::Order2>>(&json!({ "id": 1, "parts": [{ "id": 2, "parts": [] }], "parent": parent }));
    check::<Option<shop::Tree>>(&json!([null, [], [[null]]]));
    check::<hostile::Dict>(&json!({ "a": { "b": {} } }));
    check::<hostile::Left>(&json!({ "right": { "left": { "right": {} } } }));
}
