//! The client libraries and an independent client against the real host.

mod conformance;
mod conformance_program;
mod encoding;
mod faulty_proxy;
mod rust_client;
mod rust_context;
mod typed_php;
mod typed_rust;
