//! The contract of a plugin: what its methods accept, return and promise.
//!
//! A plugin describes its methods in parts ([`DescriptionPart`]), each a JSON document.
//! [`ContractReader`] makes a [`Contract`] of them. The code of the plugin wrote the documents, so
//! they are untrusted input like the bytes of a client.
//!
//! A schema is a JSON Schema 2020-12. A schema with keywords that are not modelled is
//! [`Shape::Opaque`], which is no error.

mod call_faults;
mod comparison;
mod conjunction;
mod contract;
mod description;
mod modelled_keywords;
pub mod openrpc;
pub mod plain_text;
mod schema;
mod schema_fault;
mod schema_keywords;
mod schema_reader;
pub mod words;

pub use comparison::{Comparison, Finding, ValueFault, Verdict, compare};
pub use contract::{
    Contract, DeclaredError, Example, MethodContract, MethodFacts, Parameters, is_method_of_host,
};
pub use description::{ContractReader, DescriptionFault, DescriptionPart};
pub use schema::{
    ArrayShape, IntegerShape, Literal, Node, NumberShape, ObjectShape, Property, Schema, Shape, TextShape,
};
pub use schema_fault::SchemaFault;
