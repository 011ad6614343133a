//! The descriptions of a plugin that has all kinds of types and words, as a host reads them.

#![expect(clippy::unwrap_used, reason = "a test and its helpers fail by panicking")]

#[path = "../../tests/fixtures/src/described.rs"]
#[allow(dead_code, reason = "the plugin is described, and not called")]
mod described;

use described::Described;
use jackfield_plugin_api::testing::{Harness, MethodDescription};
use serde_json::{Value, json};

fn describe(method: &str) -> MethodDescription {
    Harness::<Described>::describe(method).unwrap()
}

#[test]
fn writes_the_doc_comment_and_the_words_of_a_method() {
    let create = describe("orders.create");

    assert_eq!(
        create.facts,
        json!({
            "summary": "Stores an order and returns it.",
            "description": "The order is sent on the next day\nif its speed is `fast`:\n\n- on weekdays\n  before noon",
            "errors": [
                { "code": 404, "message": "the order to replace is unknown" },
                { "code": -7, "message": "the shop is closed" },
            ],
        })
    );
    assert_eq!(create.examples.len(), 1);
    assert_eq!(create.examples[0]["params"]["customerId"], u64::MAX);
    assert_eq!(create.examples[0].get("result"), None);

    assert_eq!(describe("orders.cancel").facts, json!({ "deprecated": "use orders.get \"instead\"" }));
    let count = describe("orders.count");
    assert_eq!(count.facts, json!({ "summary": "Counts the orders.", "idempotent": true, "params": "none" }));
    assert_eq!(count.examples, [json!({ "result": u64::MAX })]);
    assert_eq!(describe("orders.speeds").facts, json!({ "params": "none" }));
}

#[test]
fn says_nothing_about_a_type_without_a_schema() {
    let keep = describe("secrets.keep");
    assert_eq!((keep.facts, keep.params, keep.result), (json!({}), None, None));
    assert_eq!(keep.examples, [] as [Value; 0]);
}

/// Returns the schemas without what schemars adds to every document.
fn schemas(method: &str) -> (Value, Value) {
    let stripped = |schema: Option<Value>| {
        let mut schema = schema.unwrap();
        if let Some(object) = schema.as_object_mut() {
            let version = object.remove("$schema");
            assert!(version.is_none_or(|version| version == "https://json-schema.org/draft/2020-12/schema"));
        }
        schema
    };
    let MethodDescription { params, result, .. } = describe(method);
    (stripped(params), stripped(result))
}

#[test]
fn describes_params_as_they_are_read_and_results_as_they_are_written() {
    let (params, result) = schemas("orders.create");

    let required = ["customerId", "address", "payment", "count", "weight", "isGift"];
    assert_eq!(params["required"], json!(required));
    assert_eq!(params["properties"]["speed"], json!({ "$ref": "#/$defs/Speed", "default": "slow" }));
    assert_eq!(
        params["properties"]["count"],
        json!({ "type": "integer", "format": "uint32", "minimum": 1, "maximum": 1000 })
    );
    assert_eq!(
        params["$defs"]["Address"],
        json!({
            "type": "object",
            "description": "Where an order is sent to.",
            "properties": {
                "street": { "type": "string" },
                "zip": { "type": "string", "description": "The postal code.", "minLength": 3, "maxLength": 10 },
                "country": {
                    "type": ["string", "null"],
                    "description": "The country; that of the shop if it is missing.",
                },
            },
            "required": ["street", "zip"],
        })
    );

    // The members of the flattened order, and the fields with defaults, are always written.
    let required = [
        "id",
        "customerId",
        "address",
        "speed",
        "payment",
        "count",
        "weight",
        "isGift",
        "note",
        "tags",
        "attributes",
    ];
    assert_eq!(result["required"], json!(required));
    assert_eq!(result["$defs"]["Address"]["required"], json!(["street", "zip", "country"]));
    assert_eq!(result["properties"]["replaces"]["type"], json!(["integer", "null"]));
}

#[test]
fn describes_enums_recursive_and_closed_types() {
    let (params, result) = schemas("orders.wait");
    assert_eq!(params["additionalProperties"], false);
    assert_eq!(
        result,
        json!({
            "title": "Speed",
            "description": "How fast an order is sent.",
            "oneOf": [
                { "type": "string", "const": "slow", "description": "Within a week." },
                { "type": "string", "const": "fast", "description": "On the next day." },
            ],
        })
    );

    let (params, result) = schemas("categories.flatten");
    assert_eq!(
        params["properties"]["children"],
        json!({ "type": "array", "items": { "$ref": "#" }, "default": [] })
    );
    assert_eq!(result, json!({ "type": "array", "items": { "type": "string" } }));
}

#[test]
fn describes_every_form_of_a_method() {
    let id = json!({ "type": "integer", "format": "uint64", "minimum": 0 });
    let bytes = json!({ "contentMediaType": "application/octet-stream" });
    let nothing = json!({ "type": "null" });

    assert_eq!(schemas("orders.cancel").1, nothing);
    assert_eq!(describe("orders.count").params, None);
    assert_eq!(schemas_of_result("orders.count"), id);
    for none in ["orders.speeds", "orders.newest", "orders.oldest"] {
        let description = describe(none);
        assert_eq!((description.params, &description.facts["params"]), (None, &json!("none")), "{none}");
    }
    assert_eq!(schemas_of_result("orders.newest")["title"], "OrderId");
    assert_eq!(schemas_of_result("orders.speeds")["items"], json!({ "$ref": "#/$defs/Speed" }));

    let (params, result) = schemas("orders.sum");
    let int64 = json!({ "type": "integer", "format": "int64" });
    assert_eq!((params, result), (json!({ "type": "array", "items": int64 }), int64));
    let (params, result) = schemas("orders.multiply");
    assert_eq!((&params["minItems"], &params["maxItems"]), (&json!(2), &json!(2)));
    assert_eq!(params["prefixItems"][0], json!({ "type": "integer", "format": "int32" }));
    assert_eq!(result, json!({ "type": "number", "format": "double" }));
    let (params, result) = schemas("orders.find");
    assert_eq!(params["anyOf"], json!([{ "$ref": "#/$defs/OrderId" }, nothing]));
    assert_eq!(result, json!({ "type": "array", "items": id }));

    assert_eq!(schemas("images.scan"), (bytes.clone(), bytes.clone()));
    assert_eq!(schemas("images.measure").0, bytes);
    let either = json!([{ "$ref": "#/$defs/OrderId" }, bytes]);
    assert_eq!(schemas("images.crop"), (bytes, schemas("images.crop").1));
    assert_eq!(schemas("images.crop").1["anyOf"], either);
    assert_eq!(schemas("orders.import").0["anyOf"], either);
    assert_eq!(schemas("values.echo"), (json!(true), json!(true)));
}

fn schemas_of_result(method: &str) -> Value {
    let mut result = describe(method).result.unwrap();
    result.as_object_mut().unwrap().remove("$schema");
    result
}

#[test]
fn shows_calls_that_the_methods_answer_so() {
    let described = Harness::<Described>::start(json!({})).unwrap();
    for (method, of) in [
        ("orders.get", 2),
        ("orders.cancel", 1),
        ("orders.wait", 1),
        ("orders.count", 1),
        ("orders.sum", 1),
        ("categories.flatten", 1),
    ] {
        let examples = describe(method).examples;
        assert_eq!(examples.len(), of, "{method}");

        for example in examples {
            let called = described.call(method, example["params"].clone());
            match example.get("result") {
                Some(result) => assert_eq!(&called.unwrap(), result, "{method}"),
                None => assert_eq!(called.unwrap_err().code(), 404, "{method}"),
            }
        }
    }
}

#[test]
fn reports_a_method_that_does_not_exist() {
    let error = Harness::<Described>::describe("orders.missing").unwrap_err();
    assert_eq!(error.to_string(), "method not found: orders.missing");
}
