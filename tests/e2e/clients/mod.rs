//! The client libraries and an independent client against the real host.

mod conformance;
mod encoding;
mod rust_client;
mod rust_context;
