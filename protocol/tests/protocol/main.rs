//! The tests of the protocol: the vectors that pin the wire format, and properties of arbitrary
//! bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helper functions")]

mod allocation;
mod buffer;
mod codec;
mod envelope;
mod line;
mod properties;
mod reply;
mod splits;
mod vector;
mod vectors;
mod write;
