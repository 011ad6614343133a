//! Test support: the scripted server, one interface to both clients, and waiting.

pub(crate) mod calls;
pub(crate) mod host;
pub(crate) mod scratch;
pub(crate) mod server;
pub(crate) mod wait;

pub(crate) use calls::{Call, ClientKind, Outcome};
pub(crate) use scratch::ScratchDirectory;
pub(crate) use server::Server;
pub(crate) use wait::{WAIT_LIMIT, wait_until, yield_until};
