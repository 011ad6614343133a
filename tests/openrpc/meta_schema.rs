//! The official meta-schema of OpenRPC, as a validator.

use std::error::Error;
use std::sync::LazyLock;

use jsonschema::{Draft, Retrieve, Uri, Validator};
use serde_json::Value;

/// The meta-schema that the one of OpenRPC refers to, with the only address that it names.
struct JsonSchema;

impl Retrieve for JsonSchema {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let uri = uri.as_str().trim_end_matches(['/', '#']);
        assert_eq!(uri, "https://meta.json-schema.tools");
        Ok(serde_json::from_str(include_str!("json-schema.json"))?)
    }
}

/// Asserts that a document is valid.
#[track_caller]
pub(crate) fn assert_is_openrpc(document: &Value) {
    let faults: Vec<_> = VALIDATOR.iter_errors(document).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:#?}\n{document:#}");
}

/// The validator of OpenRPC documents. Formats are remarks, as in the schemas of plugins.
static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(include_str!("openrpc-1.3.json")).expect("it is JSON");
    let mut options = jsonschema::options().with_draft(Draft::Draft7).with_retriever(JsonSchema);
    options = options.should_validate_formats(false);
    options.build(&schema).expect("it is a schema")
});
