//! The end-to-end tests: each starts the program itself, with plugins it really loads, and talks to it over sockets.
//!
//! `support` builds and starts what is tested, speaks the wire by hand, and keeps the books; the other modules are one
//! theme each.

#![allow(clippy::unwrap_used, reason = "all of this is tests: what cannot go on ends by panicking")]

mod support;

mod bench;
mod call;
mod cli;
mod clients;
mod config_aliases;
mod containment;
mod crowds;
mod deaths;
mod dev;
mod differential;
mod documents;
mod embedded;
mod envelope;
mod examples;
mod flow;
mod frozen;
mod hardening;
mod lifecycle;
mod limits;
mod loading;
mod logs;
mod looking;
mod metrics;
mod operate;
mod output;
mod panics;
mod permissions;
mod prompt;
mod reload;
mod scripts;
mod secrecy;
mod services;
mod spinning;
mod systemd;
mod timeouts;
mod vectors;
mod wire;
mod witness;
