//! The faults of a document that is no schema.

/// The reason why a document is no schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaFault {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    NotJson(serde_json::Error),
    /// A schema is neither an object nor a boolean, or a keyword has a value of a wrong type.
    #[error("{path}: not a schema")]
    NotASchema {
        /// Where, as a JSON pointer.
        path: String,
    },
    /// A `$ref` leads out of the document, or to no definition.
    #[error("{path}: the reference {reference:?} leads to no definition of the document")]
    Reference {
        /// Where, as a JSON pointer.
        path: String,
        /// The reference.
        reference: String,
    },
    /// It is nested deeper than 64 schemas, or has more than 20,000.
    #[error("the schema is too deep or too large")]
    TooLarge,
}
