//! Helpers of all tests: they build and start the program, act as clients, and check accounts and
//! resources.

// Each subject uses some of the helpers.
#![allow(dead_code)]

pub(crate) mod accounting;
pub(crate) mod admin;
pub(crate) mod background;
pub(crate) mod build;
pub(crate) mod collector;
pub(crate) mod footprint;
pub(crate) mod hello;
pub(crate) mod host;
mod host_command;
pub(crate) mod http;
pub(crate) mod latch;
pub(crate) mod line_peer;
pub(crate) mod log;
pub(crate) mod neighbour;
mod otlp;
pub(crate) mod peer;
pub(crate) mod processes;
pub(crate) mod program;
pub(crate) mod pseudo_terminal;
pub(crate) mod random;
pub(crate) mod scrape;
pub(crate) mod scratch;
pub(crate) mod signer;
pub(crate) mod slow_start;
pub(crate) mod stacks;
pub(crate) mod start_script;
pub(crate) mod threads;
pub(crate) mod user;
pub(crate) mod vector;
pub(crate) mod wait;

pub(crate) use host::{HostBuilder, HostProcess, IO_THREADS};
pub(crate) use latch::Latch;
pub(crate) use peer::{Frame, Peer};
pub(crate) use wait::{CEILING, wait_until};

/// Returns whether this is the long run (`make soak`), which sets `JACKFIELD_SOAK`.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("JACKFIELD_SOAK").is_some()
}
