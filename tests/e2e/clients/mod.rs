//! The client libraries and an independent client against the real host.

mod conformance;
mod conformance_program;
mod encoding;
mod rust_client;
mod rust_context;
