//! The description of one method, in the order in which every format shows it.

use jackfield_contract::{DeclaredError, MethodContract, Node, ObjectShape, Parameters, Schema, Shape};

use super::outline::{Row, outline};
use super::type_text::brief_type;
use crate::cli::example_call::{ExampleCall, example_calls};
use crate::cli::shown_text::shown_line;

/// Upper bound for a signature with types, in characters. Longer ones have names only.
const MAX_SIGNATURE: usize = 100;

/// The description of one method. Texts of its author are not escaped; names and types have no
/// control characters.
pub(super) struct Sheet<'a> {
    pub(super) name: String,
    /// Such as `device.get(deviceId: string) -> Device`.
    pub(super) signature: String,
    pub(super) summary: Option<&'a str>,
    pub(super) description: Option<&'a str>,
    /// Further facts, such as that the method is idempotent: a name and a text, which may be empty.
    pub(super) remarks: Vec<(&'static str, &'a str)>,
    pub(super) params: Part,
    pub(super) result: Part,
    pub(super) errors: &'a [DeclaredError],
    pub(super) examples: Vec<ExampleCall>,
}

/// The params or the result of a method.
pub(super) enum Part {
    /// Nothing is known.
    Unknown,
    /// The method takes no params.
    None,
    Value {
        whole: Row,
        members: Vec<Row>,
    },
}

impl<'a> Sheet<'a> {
    pub(super) fn of(method: &'a MethodContract) -> Self {
        let facts = &method.facts;
        let idempotent =
            facts.idempotent.then_some(("idempotent", "running the same request twice is harmless"));
        let deprecated = facts.deprecated.as_deref().map(|text| ("deprecated", text));

        Self {
            name: shown_line(&method.name),
            signature: signature(method),
            summary: facts.summary.as_deref(),
            description: facts.description.as_deref(),
            remarks: deprecated.into_iter().chain(idempotent).collect(),
            params: match &method.params {
                Parameters::Unknown => Part::Unknown,
                Parameters::None => Part::None,
                Parameters::Schema(schema) => Part::of(schema),
            },
            result: method.result.as_ref().map_or(Part::Unknown, Part::of),
            errors: &facts.errors,
            examples: example_calls(method).unwrap_or_default(),
        }
    }
}

impl Part {
    fn of(schema: &Schema) -> Self {
        let mut rows = outline(schema).into_iter();
        let whole = rows.next().unwrap_or_default();
        Self::Value { whole, members: rows.collect() }
    }
}

fn signature(method: &MethodContract) -> String {
    let result = method.result.as_ref().map(|schema| format!(" -> {}", brief_type(schema, &schema.root)));
    let result = result.unwrap_or_default();
    let with_params = |params: &str| format!("{}({params}){result}", shown_line(&method.name));

    let schema = match &method.params {
        Parameters::Unknown => return with_params("..."),
        Parameters::None => return with_params(""),
        Parameters::Schema(schema) => schema,
    };
    let Some(object) = object_of(schema, &schema.root) else {
        return with_params(&brief_type(schema, &schema.root));
    };
    let members = |with_types: bool| {
        let members = object.properties.iter().map(|property| {
            let mark = if property.is_required { "" } else { "?" };
            let name = shown_line(&property.name) + mark;
            if with_types { format!("{name}: {}", brief_type(schema, &property.node)) } else { name }
        });
        with_params(&members.collect::<Vec<_>>().join(", "))
    };

    let signature = members(true);
    if signature.chars().count() > MAX_SIGNATURE { members(false) } else { signature }
}

/// Returns the object that a value is, or is if it is not `null`.
fn object_of<'a>(schema: &'a Schema, node: &'a Node) -> Option<&'a ObjectShape> {
    match &schema.resolve(node).shape {
        Shape::Object(object) if !object.properties.is_empty() => Some(object),
        Shape::Union(members) => {
            let mut others = members.iter().filter(|member| schema.resolve(member).shape != Shape::Null);
            match (others.next().map(|member| &schema.resolve(member).shape), others.next()) {
                (Some(Shape::Object(object)), None) if !object.properties.is_empty() => Some(object),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn method(params: Parameters, result: Option<Value>) -> MethodContract {
        let result = result.map(|result| Schema::from_value(result).unwrap());
        MethodContract { params, result, ..MethodContract::unknown("m") }
    }

    fn schema(document: Value) -> Parameters {
        Parameters::Schema(Schema::from_value(document).unwrap())
    }

    #[test]
    fn writes_signatures_of_all_kinds_of_params() {
        let object = json!({ "type": "object", "properties": { "id": { "type": "string" }, "at": true }, "required": ["id"] });
        let optional = json!({ "anyOf": [object, { "type": "null" }] });
        let cases = [
            (Parameters::Unknown, None, "m(...)"),
            (Parameters::None, Some(json!({ "type": "null" })), "m() -> null"),
            (schema(json!({ "type": ["integer", "null"] })), None, "m(integer | null)"),
            (schema(object), None, "m(id: string, at?: any)"),
            (schema(optional), None, "m(id: string, at?: any)"),
            (schema(json!({ "contentMediaType": "application/octet-stream" })), None, "m(bytes)"),
        ];

        for (params, result, expected) in cases {
            assert_eq!(signature(&method(params, result)), expected);
        }
    }

    #[test]
    fn leaves_types_out_of_a_long_signature() {
        let members = (0..9).map(|number| (format!("member{number}"), json!({ "type": "integer" })));
        let object = json!({ "type": "object", "properties": members.collect::<serde_json::Map<_, _>>() });

        let signature = signature(&method(schema(object), None));

        assert!(signature.starts_with("m(member0?, member1?, "), "{signature}");
    }
}
