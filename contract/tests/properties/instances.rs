//! Values of a type that reach each of its bounds.

use serde_json::{Map, Value, json};

use crate::types::{Members, Type};

/// Returns values of a type: each place takes each of its own values once, while the others keep
/// their first one. With `extra`, open objects also have members that they do not name.
pub(crate) fn instances(of: &Type, extra: bool) -> Vec<Value> {
    match of {
        Type::Null => vec![Value::Null],
        Type::Boolean => vec![json!(true), json!(false)],
        Type::Integer(least, greatest) => vec![json!(least), json!(greatest)],
        Type::Number => vec![json!(0), json!(-1e9), json!(0.5), json!(1e9)],
        Type::Text(least, greatest) => [*least, greatest.unwrap_or(64)].map(text).to_vec(),
        Type::Enum(values) => values.iter().map(|value| json!(value)).collect(),
        Type::Array(of, least, greatest) => {
            let items = instances(of, extra);
            let filled = |count: u64, item: &Value| Value::Array((0..count).map(|_| item.clone()).collect());
            let lengths = [*least, greatest.unwrap_or(9)].into_iter().map(|count| filled(count, &items[0]));
            lengths.chain(items.iter().map(|item| filled((*least).max(1), item))).collect()
        }
        Type::Tuple(of) => {
            let items: Vec<_> = of.iter().map(|of| instances(of, extra)).collect();
            let first: Vec<_> = items.iter().map(|items| items[0].clone()).collect();
            let mut all = vec![Value::Array(first.clone())];
            for (at, items) in items.iter().enumerate() {
                all.extend(items.iter().map(|item| {
                    let mut tuple = first.clone();
                    tuple[at] = item.clone();
                    Value::Array(tuple)
                }));
            }
            all
        }
        Type::Object(members) => objects(members, None, extra),
        Type::Map(of) => {
            let entries = instances(of, extra).into_iter().map(|value| json!({ "any key": value }));
            entries.chain([json!({})]).collect()
        }
        Type::Tagged(variants) => {
            let tagged = variants.iter().enumerate();
            tagged.flat_map(|(at, members)| objects(members, Some(at), extra)).collect()
        }
        Type::External(variants) => {
            let named = variants.iter().enumerate();
            named
                .flat_map(|(at, of)| {
                    instances(of, extra).into_iter().map(move |value| json!({ format!("e{at}"): value }))
                })
                .collect()
        }
        Type::Option(of) => instances(of, extra).into_iter().chain([Value::Null]).collect(),
        Type::OrBoolean(of) => instances(of, extra).into_iter().chain([json!(true)]).collect(),
        Type::Any => vec![json!(null), json!(true), json!(7.5), json!("a long text"), json!([[]]), json!({})],
    }
}

fn text(length: u64) -> Value {
    json!("ü".repeat(usize::try_from(length).expect("a short text")))
}

fn objects(members: &Members, tag: Option<usize>, extra: bool) -> Vec<Value> {
    let mut first = Map::new();
    if let Some(tag) = tag {
        first.insert("kind".to_owned(), json!(format!("k{tag}")));
    }
    let values: Vec<_> = members.list.iter().map(|member| instances(&member.of, extra)).collect();
    for (member, values) in members.list.iter().zip(&values) {
        first.insert(member.name.clone(), values[0].clone());
    }

    let mut all = vec![first.clone()];
    for (member, values) in members.list.iter().zip(&values) {
        all.extend(values.iter().map(|value| {
            let mut object = first.clone();
            object.insert(member.name.clone(), value.clone());
            object
        }));
        if !member.is_required {
            let mut object = first.clone();
            object.remove(&member.name);
            all.push(object);
        }
    }
    if extra && !members.is_closed {
        let mut object = first.clone();
        object.insert("unnamed".to_owned(), json!(1));
        all.push(object);
    }
    all.into_iter().map(Value::Object).collect()
}
