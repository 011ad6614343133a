//! Generates typed clients of Jackfield methods, for build scripts.
//!
//! The input is an OpenRPC document as `jackfield describe --openrpc` writes it. The output is one
//! Rust file with a module for each first segment of the method names. README.md shows how to use
//! it, and what becomes of each schema.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), jackfield_client_build::Error> {
//!     jackfield_client_build::Generator::new().document("contract.json").generate()
//! }
//! ```
//!
//! Imports between the modules run one way: `generator` → `write` → `contract_modules` →
//! `type_builder` → `schema_index`, `model`, `names`. `schema_index` and `ownership` import
//! `reachability`.
#![forbid(unsafe_code)]

mod contract_modules;
mod error;
mod generator;
mod model;
mod names;
mod ownership;
mod reachability;
mod schema_index;
mod source_text;
mod type_builder;
mod write;

pub use error::Error;
pub use generator::Generator;
