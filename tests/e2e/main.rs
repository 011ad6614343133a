//! End-to-end tests: each starts the real program, which loads real plugin files, and uses it over
//! sockets.
//!
//! Each subject is a directory. `support` builds and starts the program, speaks the protocol
//! without code of the project, and accounts for requests and resources. `tests/README.md` is the
//! guide.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue panics")]

mod support;

mod api;
mod build;
mod cli;
mod clients;
mod containment;
mod context;
mod contract;
mod crash;
mod docs;
mod lifecycle;
mod limits;
mod loading;
mod observability;
mod overload;
mod reload;
mod routing;
mod systemd;
mod traces;
mod wire;
mod worker;
