//! Both clients against servers that play a script: what each call returns, and what was sent for
//! it.
#![expect(clippy::unwrap_used, reason = "a test and its helpers fail by panicking")]

mod support;

mod behaviour;
mod cancel;
mod cancel_request;
mod connect;
mod deadline;
mod hello;
mod idle;
mod load;
mod pool;
mod restart;
mod runtime;
mod shutdown;
mod vectors;
