//! Contracts: what the methods of plugins say about themselves.

mod descriptions;
mod discover;

#[path = "../../openrpc/meta_schema.rs"]
mod meta_schema;
