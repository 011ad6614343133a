//! The tests of both clients against servers that play a script: what comes back, and what was sent for it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in the functions that serve it too")]

mod support;

mod behaviour;
mod cancel;
mod connect;
mod deadline;
mod idle;
mod load;
mod pool;
mod restart;
mod runtime;
mod vectors;
