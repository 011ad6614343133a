//! Calls to a Jackfield host: connections that are pooled and shared, one deadline over each call, typed errors.
//!
//! [`Client`] is for async code, [`blocking::Client`] for threads. README.md has examples, which a test runs.
#![forbid(unsafe_code)]

pub mod blocking;
mod builder;
mod call;
mod client;
mod connection;
mod counters;
mod error;
mod id;
mod options;
mod pool;
mod request;
mod socket;

pub use builder::Builder;
pub use client::Client;
pub use counters::Stats;
pub use error::{EncodeError, Error, Phase, ProtocolError, RemoteError};
pub use options::Mode;
pub use request::Request;
