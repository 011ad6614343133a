//! Contracts as OpenRPC documents.
//!
//! A document has everything that a contract has, in extensions (`extensions.rs`) where OpenRPC
//! defines no member. [`read`] makes the same contract of it again. Only the text of the schemas
//! differs, because the definitions of all methods are in one place (`components.rs`).

mod components;
mod document_info;
mod extensions;
mod read;
mod reference_graph;
mod references;
mod write;

pub use document_info::DocumentInfo;
pub use read::{DescribedContract, OpenRpcFault, read, read_document};
pub use write::write;

#[cfg(test)]
mod tests;
