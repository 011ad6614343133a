//! The builder of both clients.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use jackfield_protocol::FrameLimit;

use crate::options::{Mode, Options};

/// Settings for a client that is about to be made; `C` is the async or the blocking client.
///
/// Values outside their bounds are moved to the nearest bound.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<C> {
    pub(crate) options: Options,
    client: PhantomData<fn() -> C>,
}

impl<C> Builder<C> {
    pub(crate) fn new(path: &Path) -> Builder<C> {
        Builder { options: Options::new(path), client: PhantomData }
    }

    /// What a call may take in all: connect, write, wait and read. Default 5 s. Calls can have their own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How long a call goes on trying to connect to a socket that is missing, has no listener or has a full
    /// backlog. Default: until its deadline. Zero: one attempt.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Most sockets at once, idle and busy ones together. Default 20, at least 1.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = connections.max(1);
        self
    }

    /// Most multiplexed calls in flight on one connection. Default 512, from 1 to 1,024: there a host stops reading.
    pub fn max_in_flight_per_connection(mut self, calls: usize) -> Self {
        self.options.max_in_flight = calls.clamp(1, 1_024);
        self
    }

    /// Most calls that wait for a connection; past it a call ends with [`Error::PoolFull`](crate::Error::PoolFull)
    /// at once. Default 16,384.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.options.max_waiting = calls;
        self
    }

    /// Most times one request is sent. Default 3, at least 1. It is sent again only if the host certainly never
    /// started it, or the call says that it is idempotent.
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.options.max_tries = tries.max(1);
        self
    }

    /// The largest reply taken, in bytes of payload. Default 16 MiB, a host's own default.
    pub fn frame_limit(mut self, bytes: u32) -> Self {
        self.options.frame_limit = FrameLimit::new(bytes);
        self
    }

    /// How long a connection may lie idle before a heartbeat has to be answered on it. Default 1 s.
    pub fn health_check_after(mut self, idle: Duration) -> Self {
        self.options.health_check_after = idle;
        self
    }

    /// How long a connection may lie idle before it is closed instead of used. Default 4 minutes: a host closes its
    /// side after 5.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.options.idle_timeout = idle;
        self
    }

    /// How calls use the wire unless they say otherwise. Default [`Mode::Multiplexed`] for the async client,
    /// [`Mode::Exclusive`] for the blocking one.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.options.mode = mode;
        self
    }
}
