//! How places and changes are named.

use serde_json::Value;

use crate::plain_text;
use crate::schema::{Node, ObjectShape, Schema, Shape};

/// The most characters of a name and of a value.
const SHOWN_MAX: usize = 60;

/// Returns the step of a path that leads to a member.
pub(super) fn member(name: &str) -> String {
    format!(".{}", shown(name))
}

/// Returns a value as JSON, cut if it is long.
pub(super) fn value(value: &Value) -> String {
    // The text of a large value is not made just to be cut.
    match value {
        Value::String(text) => {
            let start: String = text.chars().take(SHOWN_MAX + 1).collect();
            shown(&Value::String(start).to_string())
        }
        Value::Array(items) if items.len() > SHOWN_MAX => "[…]".to_owned(),
        Value::Object(members) if members.len() > SHOWN_MAX => "{…}".to_owned(),
        value => shown(&value.to_string()),
    }
}

fn shown(text: &str) -> String {
    plain_text::cut(plain_text::line(text).chars(), SHOWN_MAX)
}

/// Names an object by the members that distinguish it from others: a member with one value, the
/// tag of an enum, or else a required member.
pub(super) fn object(schema: &Schema, object: &ObjectShape) -> String {
    let required = || object.properties.iter().take_while(|property| property.is_required);
    let tag = |node: &Node| match &schema.resolve(node).shape {
        Shape::Literals(literals) if literals.len() == 1 => Some(value(&literals[0].value)),
        _ => None,
    };
    let tagged = required().find_map(|property| Some((&property.name, tag(&property.node)?)));
    match (tagged, required().next()) {
        (Some((name, value)), _) => format!("object with {} {value}", shown(name)),
        (None, Some(property)) => format!("object with {}", shown(&property.name)),
        (None, None) => "object".to_owned(),
    }
}
