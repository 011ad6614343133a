//! The blocking client: the same pool and the same rules, driven by the calling threads.

mod client;
mod execute;

pub use client::BlockingClient as Client;
