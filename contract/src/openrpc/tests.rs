//! Tests of documents: what they contain, and that they are read as they were written.

use serde_json::{Value, json};

use super::{DocumentInfo, OpenRpcFault, read, write};
use crate::{Contract, ContractReader, DescriptionPart, MethodContract, Parameters, Schema};

mod hostile;
mod round_trip;

#[path = "../../../tests/openrpc/meta_schema.rs"]
mod meta_schema;

const INFO: DocumentInfo<'_> = DocumentInfo { title: "jackfield", version: "1.0.0" };

/// Makes a method with the given schemas of params and result.
fn method(name: &str, params: Value, result: Value) -> MethodContract {
    MethodContract {
        params: Parameters::Schema(Schema::from_value(params).unwrap()),
        result: Some(Schema::from_value(result).unwrap()),
        ..MethodContract::unknown(name)
    }
}

/// Writes methods, and checks that they are read as they are.
fn document_of(methods: Vec<MethodContract>) -> Value {
    let contract = Contract::new(methods);
    let document = write(&INFO, &contract);
    meta_schema::assert_is_openrpc(&document);
    let again = read(document.to_string().as_bytes()).unwrap();
    assert_eq!(without_documents(again), without_documents(contract), "{document:#}");
    document
}

/// Removes the text of the schemas, which only the definitions of other methods change.
fn without_documents(contract: Contract) -> Contract {
    let mut methods = contract.methods().to_vec();
    for method in &mut methods {
        if let Parameters::Schema(schema) = &mut method.params {
            schema.document = Value::Null;
        }
        if let Some(schema) = &mut method.result {
            schema.document = Value::Null;
        }
    }
    Contract::new(methods)
}

#[test]
fn names_the_params_of_an_object_in_the_order_of_its_shape() {
    let params = json!({
        "type": "object", "title": "Update", "required": ["status", "id"],
        "properties": {
            "note": { "type": "string", "deprecated": true },
            "id": { "type": "string", "description": "Which one." },
            "status": { "$ref": "#/$defs/Status" },
        },
        "$defs": { "Status": { "enum": ["online", "offline"] } },
    });
    let document = document_of(vec![method("device.update", params, json!({ "type": "integer" }))]);
    let written = &document["methods"][0];

    assert_eq!(written["paramStructure"], "by-name");
    assert_eq!(
        written["params"],
        json!([
            { "name": "status", "required": true, "schema": { "$ref": "#/components/schemas/Status" } },
            {
                "name": "id", "required": true, "description": "Which one.",
                "schema": { "type": "string", "description": "Which one." },
            },
            {
                "name": "note", "required": false, "deprecated": true,
                "schema": { "type": "string", "deprecated": true },
            },
        ])
    );
    assert_eq!(written["result"], json!({ "name": "result", "schema": { "type": "integer" } }));
    assert_eq!(document["components"]["schemas"], json!({ "Status": { "enum": ["online", "offline"] } }));
}

#[test]
fn has_one_value_for_params_that_are_no_object_and_none_for_none() {
    let none = MethodContract { params: Parameters::None, ..MethodContract::unknown("a.none") };
    let document = document_of(vec![
        none,
        method("b.list", json!({ "type": "array" }), json!(true)),
        method("c.optional", json!({ "type": ["string", "null"] }), json!(true)),
        method("d.map", json!({ "type": "object" }), json!(true)),
        MethodContract::unknown("e.unknown"),
    ]);
    let written = |number: usize| {
        let method = &document["methods"][number];
        (method["params"].clone(), method["paramStructure"].clone(), method["x-jackfield-params"].clone())
    };
    let value = |schema, is_required| {
        let params = json!([{ "name": "params", "schema": schema, "required": is_required }]);
        (params, json!("by-position"), json!("value"))
    };

    assert_eq!(written(0), (json!([]), Value::Null, Value::Null));
    assert_eq!(written(1), value(json!({ "type": "array" }), true));
    assert_eq!(written(2), value(json!({ "type": ["string", "null"] }), false));
    assert_eq!(written(3), value(json!({ "type": "object" }), true));
    assert_eq!(written(4), value(json!(true), false));
}

#[test]
fn shares_equal_definitions_and_renames_different_ones() {
    let of = |status: &str| {
        json!({
            "items": { "$ref": "#/$defs/Device" }, "type": "array",
            "$defs": {
                "Device": { "type": "object", "properties": { "status": { "$ref": "#/$defs/Status" } } },
                "Status": { "enum": [status] },
            },
        })
    };
    let document = document_of(vec![
        method("a", of("x"), of("x")),
        method("b", of("y"), of("y")),
        method("c", of("x"), of("y")),
    ]);
    let schemas = document["components"]["schemas"].as_object().unwrap();

    let names: Vec<_> = schemas.keys().collect();
    assert_eq!(names, ["Device", "Device_2", "Status", "Status_2"]);
    assert_eq!(schemas["Device_2"]["properties"]["status"]["$ref"], "#/components/schemas/Status_2");
    assert_eq!(document["x-jackfield-names"], json!({ "Device_2": "Device", "Status_2": "Status" }));
}

#[test]
fn shares_types_that_refer_to_themselves() {
    let tree = json!({ "type": "array", "title": "Tree", "items": { "$ref": "#" } });
    let forest = json!({
        "type": "array", "items": { "$ref": "#/$defs/Tree" },
        "$defs": { "Tree": { "type": "array", "title": "Tree", "items": { "$ref": "#/$defs/Tree" } } },
    });
    let document = document_of(vec![method("a", tree.clone(), forest), method("b", tree, json!(false))]);

    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert_eq!(schemas.keys().collect::<Vec<_>>(), ["Tree"]);
    assert_eq!(schemas["Tree"]["items"]["$ref"], "#/components/schemas/Tree");
}

#[test]
fn gives_every_definition_a_name_that_openrpc_permits() {
    let schema = json!({
        "type": "array", "title": "",
        "prefixItems": [{ "$ref": "#/$defs/a~1b" }, { "$ref": "#/$defs/a_b" }, { "$ref": "#/$defs/ü" }],
        "items": { "$ref": "#" },
        "$defs": { "a/b": { "type": "string" }, "a_b": { "type": "null" }, "ü": { "type": "boolean" } },
    });
    let document = document_of(vec![method("a", schema, json!(true))]);
    let names: Vec<_> = document["components"]["schemas"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["Schema", "_", "a_b", "a_b_2"]);
}

#[test]
fn leaves_data_that_looks_like_a_reference_as_it_is() {
    let data = json!({ "$ref": "#/$defs/a" });
    let schema = json!({
        "type": "object", "default": data,
        "properties": { "a": { "$ref": "#/$defs/a" }, "b": { "const": data } },
        "$defs": { "a": { "type": "null" } },
    });
    let document = document_of(vec![method("a", schema, json!(true))]);
    let whole = &document["methods"][0]["x-jackfield-params-schema"];
    assert_eq!(whole["default"], data);
    assert_eq!(whole["properties"]["b"]["const"], data);
    assert_eq!(whole["properties"]["a"]["$ref"], "#/components/schemas/a");
}

#[test]
fn writes_facts_errors_and_examples() {
    let mut reader = ContractReader::new(["device.update", "device.none", "device.list"]);
    let facts = json!({
        "summary": "Stores a status.", "description": "At once.", "idempotent": true, "deprecated": "",
        "errors": [{ "code": 404, "message": "unknown" }],
    });
    let examples =
        json!([{ "params": { "id": "a" }, "result": 1 }, { "params": {} }, { "result": null }, {}]);
    let object = json!({ "type": "object", "properties": { "id": { "type": "string" } } });
    let mut add =
        |method, part, value: &Value| reader.add(method, part, value.to_string().as_bytes()).unwrap();
    add(0, DescriptionPart::Facts, &facts);
    add(0, DescriptionPart::Params, &object);
    add(0, DescriptionPart::Examples, &examples);
    add(1, DescriptionPart::Facts, &json!({ "params": "none" }));
    add(1, DescriptionPart::Examples, &examples);
    add(2, DescriptionPart::Examples, &examples);

    let document = document_of(reader.finish().methods().to_vec());
    let written = &document["methods"][2];
    assert_eq!(written["summary"], "Stores a status.");
    assert_eq!(written["deprecated"], true);
    assert_eq!(written["x-jackfield-deprecated"], "");
    assert_eq!(written["x-jackfield-idempotent"], true);
    assert_eq!(written["errors"], facts["errors"]);
    assert_eq!(
        written["examples"][0],
        json!({
            "name": "example 1", "params": [{ "name": "id", "value": "a" }],
            "result": { "name": "result", "value": 1 },
        })
    );
}
