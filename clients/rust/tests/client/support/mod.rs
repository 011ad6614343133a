//! What the tests stand on: a scripted server, both clients behind one face, waiting.

pub(crate) mod calls;
pub(crate) mod scratch;
pub(crate) mod server;
pub(crate) mod wait;

pub(crate) use calls::{Call, Front, Outcome};
pub(crate) use scratch::Scratch;
pub(crate) use server::Server;
pub(crate) use wait::{CEILING, comes, until};
