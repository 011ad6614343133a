//! The contract of a plugin: what its methods accept, return and promise.
//!
//! A plugin describes its methods in parts ([`DescriptionPart`]), each a JSON document. The host
//! reads them as it reads bytes of a client, because the code of the plugin wrote them, and makes
//! a [`Contract`] of them ([`ContractReader`]). A schema is a JSON Schema 2020-12; what is not
//! understood in it is [`Shape::Opaque`] and never an error.

mod comparison;
mod conjunction;
mod contract;
mod description;
mod modelled_keywords;
pub mod openrpc;
mod plain_text;
mod schema;
mod schema_fault;
mod schema_keywords;
mod schema_reader;
pub mod words;

pub use comparison::{Comparison, Finding, ValueFault, Verdict, compare};
pub use contract::{Contract, DeclaredError, Example, MethodContract, MethodFacts, Parameters};
pub use description::{ContractReader, DescriptionFault, DescriptionPart};
pub use schema::{
    ArrayShape, IntegerShape, Literal, Node, NumberShape, ObjectShape, Property, Schema, Shape, TextShape,
};
pub use schema_fault::SchemaFault;
