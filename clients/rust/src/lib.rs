//! A client of Jackfield hosts: pooled connections, one deadline for a whole call, typed errors.
//!
//! [`Client`] is for async code, [`blocking::Client`] for threads. README.md has examples, which a
//! test runs.
//!
//! Imports between the modules run one way:
//! `client`, `blocking` → `call`, `acquire` → `connection` → `pool` → the rest.
#![forbid(unsafe_code)]

mod acquire;
mod backoff;
pub mod blocking;
mod builder;
mod call;
mod call_context;
mod cancel;
mod client;
mod connection;
mod counters;
mod error;
mod id;
mod options;
mod pool;
mod reply;
mod request;
mod request_frame;
mod socket;

pub use builder::Builder;
pub use cancel::CancelHandle;
pub use client::Client;
pub use counters::Stats;
pub use error::{EncodeError, Error, Phase, ProtocolError, RemoteError, UnreadableReply};
pub use jackfield_protocol::{Timing, Version};
pub use options::Mode;
pub use reply::{Payload, Reply};
pub use request::Request;
