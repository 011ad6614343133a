//! Contracts as OpenRPC documents.

use serde_json::{Value, json};

use crate::Contract;

/// The head of a document.
#[derive(Debug, Clone)]
pub struct DocumentInfo<'a> {
    /// The name of what is described, such as `jackfield` or the name of a plugin.
    pub title: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenRpcFault {
    /// It is not JSON, or not an OpenRPC document.
    #[error("not an OpenRPC document: {0}")]
    Invalid(String),
}

/// Writes a document of a contract.
#[must_use]
pub fn write(info: &DocumentInfo<'_>, contract: &Contract) -> Value {
    let methods: Vec<_> = contract.methods().iter().map(|method| json!({ "name": method.name })).collect();
    json!({ "openrpc": "1.3.2", "info": { "title": info.title, "version": info.version }, "methods": methods })
}

/// Reads a contract out of a document that [`write`] wrote.
///
/// # Errors
///
/// It is not an OpenRPC document.
pub fn read(document: &[u8]) -> Result<Contract, OpenRpcFault> {
    let document: Value =
        serde_json::from_slice(document).map_err(|error| OpenRpcFault::Invalid(error.to_string()))?;
    let methods = document["methods"].as_array().into_iter().flatten();
    Ok(Contract::of_names(methods.filter_map(|method| method["name"].as_str())))
}
