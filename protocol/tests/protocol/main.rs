//! The protocol's tests: the vectors that pin the wire, and what must hold for bytes nobody wrote down.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in the functions that serve it too")]

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
