//! The descriptions of a plugin that has all kinds of types and words, as a host reads them.

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
