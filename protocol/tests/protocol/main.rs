//! The tests of the protocol: the vectors that pin the wire format, and properties of arbitrary
//! bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helper functions")]

mod allocation;
mod buffer;
mod canonical_vectors;
mod codec;
mod envelope;
mod extended_vectors;
mod extension_properties;
mod line;
mod properties;
mod reply;
mod splits;
mod vector;
mod vectors;
mod write;
