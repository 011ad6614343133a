//! From a contract to an OpenRPC document.

use serde_json::{Map, Value, json};

use super::components::Components;
use super::document_info::DocumentInfo;
use super::extensions::{
    DEPRECATED, IDEMPOTENT, NAMES, PARAMS, PARAMS_NONE, PARAMS_SCHEMA, PARAMS_VALUE, RESULT, RESULT_UNKNOWN,
    VALUE_NAME,
};
use crate::schema_keywords::{NESTING_MAX, is_nested_deeper};
use crate::{Contract, Example, MethodContract, ObjectShape, Parameters, Property, Schema, Shape};

/// The version of OpenRPC: the newest one that the meta-schema of OpenRPC 1.3 lists.
const VERSION: &str = "1.3.2";

/// The params of a method in its document.
enum WrittenParams {
    /// The method takes none.
    None,
    /// An object, of which each named member is a param.
    ByName,
    /// One value.
    Value,
}

/// Writes a document of a contract. The same contract always has the same document.
#[must_use]
pub fn write(info: &DocumentInfo<'_>, contract: &Contract) -> Value {
    let mut components = Components::default();
    let methods: Vec<_> = contract.methods().iter().map(|method| written(method, &mut components)).collect();

    let mut document = json!({
        "openrpc": VERSION,
        "info": { "title": info.title, "version": info.version },
        "methods": methods,
    });
    let (schemas, names) = components.finish();
    if !schemas.is_empty() {
        document["components"] = json!({ "schemas": schemas });
    }
    if !names.is_empty() {
        document[NAMES] = json!(names);
    }
    document
}

fn written(method: &MethodContract, components: &mut Components) -> Value {
    let mut members = Map::new();
    members.insert("name".to_owned(), method.name.as_str().into());
    add_facts(&mut members, method);
    let params = add_params(&mut members, &method.params, components);
    add_result(&mut members, method.result.as_ref(), components);

    let examples = method.examples.iter().filter(|example| !is_too_deep(example));
    let examples: Vec<_> = (1..).zip(examples).map(|(number, it)| pairing(number, it, &params)).collect();
    if !examples.is_empty() {
        members.insert("examples".to_owned(), examples.into());
    }
    Value::Object(members)
}

fn add_facts(members: &mut Map<String, Value>, method: &MethodContract) {
    let facts = &method.facts;
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);

    if let Some(summary) = &facts.summary {
        add("summary", summary.as_str().into());
    }
    if let Some(description) = &facts.description {
        add("description", description.as_str().into());
    }
    if facts.idempotent {
        add(IDEMPOTENT, true.into());
    }
    if let Some(reason) = &facts.deprecated {
        add("deprecated", true.into());
        add(DEPRECATED, reason.as_str().into());
    }
    if !facts.errors.is_empty() {
        add("errors", json!(facts.errors));
    }
}

fn add_params(
    members: &mut Map<String, Value>,
    params: &Parameters,
    components: &mut Components,
) -> WrittenParams {
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    let value = |schema: &Value, is_required: bool| json!([{ "name": VALUE_NAME, "schema": schema, "required": is_required }]);

    let schema = match params {
        Parameters::None => {
            add("params", json!([]));
            return WrittenParams::None;
        }
        Parameters::Unknown => {
            add("paramStructure", "by-position".into());
            add("params", value(&Value::Bool(true), false));
            add(PARAMS, PARAMS_VALUE.into());
            return WrittenParams::Value;
        }
        Parameters::Schema(schema) => schema,
    };

    let whole = components.add(schema);
    let named = named_params(schema, components.resolve(&whole));
    let written = if named.is_some() { WrittenParams::ByName } else { WrittenParams::Value };
    if let Some(named) = named {
        add("paramStructure", "by-name".into());
        add("params", named.into());
    } else {
        add("paramStructure", "by-position".into());
        add("params", value(&whole, !admits_null(schema)));
        add(PARAMS, PARAMS_VALUE.into());
    }
    add(PARAMS_SCHEMA, whole);
    written
}

/// Returns the params of an object; `None` if it has no named members, or some of them have no
/// schema of their own in the text.
fn named_params(schema: &Schema, written: &Value) -> Option<Vec<Value>> {
    let Shape::Object(object) = &schema.resolve(&schema.root).shape else { return None };
    let ObjectShape { properties, .. } = &**object;
    if properties.is_empty() || properties.iter().any(|property| property.name.is_empty()) {
        return None;
    }
    properties.iter().map(|property| named_param(property, written)).collect()
}

fn named_param(property: &Property, object: &Value) -> Option<Value> {
    let Property { name, is_required, node } = property;
    let schema = object.get("properties").and_then(|properties| properties.get(name));
    // A member that is only required has no schema, and admits every value.
    let schema = schema.or_else(|| (node.shape == Shape::Any).then_some(&Value::Bool(true)))?;
    let mut param = json!({ "name": name, "schema": schema, "required": is_required });
    if let Some(description) = &node.description {
        param["description"] = description.as_str().into();
    }
    if node.deprecated {
        param["deprecated"] = true.into();
    }
    Some(param)
}

/// Returns whether `null` is among the values. Params that may be null may be missing.
fn admits_null(schema: &Schema) -> bool {
    match &schema.resolve(&schema.root).shape {
        Shape::Any | Shape::Null => true,
        Shape::Literals(literals) => literals.iter().any(|literal| literal.value.is_null()),
        Shape::Union(members) => {
            members.iter().any(|member| matches!(schema.resolve(member).shape, Shape::Null | Shape::Any))
        }
        _ => false,
    }
}

fn add_result(members: &mut Map<String, Value>, result: Option<&Schema>, components: &mut Components) {
    let schema = result.map_or(Value::Bool(true), |schema| components.add(schema));
    if result.is_none() {
        members.insert(RESULT.to_owned(), RESULT_UNKNOWN.into());
    }
    members.insert("result".to_owned(), json!({ "name": "result", "schema": schema }));
}

/// Returns whether an example is nested so deep that the document could not be read.
fn is_too_deep(example: &Example) -> bool {
    [&example.params, &example.result].into_iter().flatten().any(|value| is_nested_deeper(value, NESTING_MAX))
}

fn pairing(number: usize, example: &Example, params: &WrittenParams) -> Value {
    let mut pairing = json!({ "name": format!("example {number}"), "params": [] });
    match (&example.params, params) {
        (None, WrittenParams::None) => {}
        (None, _) => pairing[PARAMS] = PARAMS_NONE.into(),
        (Some(Value::Object(members)), WrittenParams::ByName) if !members.contains_key("") => {
            let named = members.iter().map(|(name, value)| json!({ "name": name, "value": value }));
            pairing["params"] = named.collect();
        }
        (Some(value), _) => {
            pairing["params"] = json!([{ "name": VALUE_NAME, "value": value }]);
            pairing[PARAMS] = PARAMS_VALUE.into();
        }
    }
    if let Some(result) = &example.result {
        pairing["result"] = json!({ "name": "result", "value": result });
    }
    pairing
}
