//! The end-to-end tests: each starts the program itself, with plugins it really loads, and talks to
//! it over sockets.
//!
//! `support` builds and starts what is tested, speaks the wire by hand, and keeps the books; the
//! other modules are one theme each.

#![allow(clippy::unwrap_used, reason = "all of this is tests: what cannot go on ends by panicking")]

mod support;

mod api;
mod build;
mod cli;
mod clients;
mod containment;
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
mod wire;
