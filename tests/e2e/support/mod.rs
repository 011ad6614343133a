//! What the tests stand on: building, starting, talking, and counting what came of it.

// Each piece serves some of the themes, none serves all.
#![allow(dead_code)]

pub(crate) mod accounting;
pub(crate) mod background;
pub(crate) mod build;
pub(crate) mod footprint;
pub(crate) mod gate;
pub(crate) mod host;
pub(crate) mod line_peer;
pub(crate) mod log;
pub(crate) mod neighbour;
pub(crate) mod noise;
pub(crate) mod peer;
pub(crate) mod program;
pub(crate) mod pseudo_terminal;
pub(crate) mod scrape;
pub(crate) mod scratch;
pub(crate) mod signer;
pub(crate) mod threads;
pub(crate) mod user;
pub(crate) mod vector;
pub(crate) mod wait;

pub(crate) use gate::Gate;
pub(crate) use host::{HostBuilder, HostProcess, IO_THREADS};
pub(crate) use peer::{Frame, Peer};
pub(crate) use wait::{CEILING, until};

/// Whether this is the long run, `make soak`.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("JACKFIELD_SOAK").is_some()
}
