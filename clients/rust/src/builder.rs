//! The builder of both clients.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use jackfield_protocol::FrameLimit;

use crate::options::{Mode, Options};

/// The settings of a client to be built; `C` is the async or the blocking client.
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

    /// Sets the time-out of a whole call: connect, write, wait and read. Default 5 s.
    ///
    /// [`Request::timeout`](crate::Request::timeout) sets it for one call.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Sets for how long a call repeats attempts to connect.
    ///
    /// Attempts are repeated if the socket is missing, has no listener or has a full backlog. By
    /// default a call tries until its deadline. Zero allows one attempt.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets the maximum number of sockets, idle and busy together. Default 20, at least 1.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = connections.max(1);
        self
    }

    /// Sets the maximum number of multiplexed calls in flight on one connection.
    ///
    /// Default 512, from 1 to 1,024. A host stops reading from a connection with 1,024 requests in
    /// flight.
    pub fn max_in_flight_per_connection(mut self, calls: usize) -> Self {
        self.options.max_in_flight = calls.clamp(1, 1_024);
        self
    }

    /// Sets the maximum number of calls that wait for a connection. Default 16,384.
    ///
    /// A call beyond it fails immediately with [`Error::PoolFull`](crate::Error::PoolFull).
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.options.max_waiting = calls;
        self
    }

    /// Sets how many times one request is sent at most. Default 3, at least 1.
    ///
    /// A request is sent again only if the host certainly never started it, or if the call is
    /// marked as [idempotent](crate::Request::idempotent). A request that a host refuses because it
    /// shuts down is sent again until the time-out, whatever the number.
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.options.max_tries = tries.max(1);
        self
    }

    /// Sets the largest reply that the client accepts, in bytes of payload.
    ///
    /// Default 16 MiB, which is also the default of a host. A larger reply fails its own call. A
    /// reply of more than four times the limit, or without its id in its first 1,024 bytes, ends
    /// the connection.
    pub fn frame_limit(mut self, bytes: u32) -> Self {
        self.options.frame_limit = FrameLimit::new(bytes);
        self
    }

    /// Sets the idle time after which a connection must answer a heartbeat before it is used.
    ///
    /// Default 1 s.
    pub fn health_check_after(mut self, idle: Duration) -> Self {
        self.options.health_check_after = idle;
        self
    }

    /// Sets the idle time after which a connection is closed instead of used.
    ///
    /// Default 4 minutes, because a host closes idle connections after 5.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.options.idle_timeout = idle;
        self
    }

    /// Sets how calls use the wire unless they set it themselves.
    ///
    /// Default [`Mode::Multiplexed`] for the async client, [`Mode::Exclusive`] for the blocking
    /// one.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.options.mode = mode;
        self
    }

    /// Sets whether the client agrees with the host on protocol 1.2. Default true.
    ///
    /// It sends a hello with the first request of each connection, at no cost in time, and uses
    /// what the host grants: cancelling, the timing of replies, opaque bytes, and the notice of a
    /// shutdown. A host of protocol 1.0 or 1.1 grants nothing and is used as such. A client with a
    /// [frame limit](Builder::frame_limit) below 1,024 bytes sends no hello.
    pub fn negotiate(mut self, negotiate: bool) -> Self {
        self.options.negotiates = negotiate;
        self
    }

    /// Sets a member of the metadata of every call; a call may [set another
    /// value](crate::Request::meta).
    ///
    /// The names and values of a call are at most 16 pairs and 2,048 bytes.
    pub fn meta(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.context.set_meta(name.into(), value.into());
        self
    }

    /// Sets the trace of the calls that [set none](crate::Request::traceparent).
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.options.context.traceparent = Some(traceparent.into());
        self
    }

    /// Sets the vendor part of the trace of the calls that set no trace.
    pub fn tracestate(mut self, tracestate: impl Into<String>) -> Self {
        self.options.context.tracestate = Some(tracestate.into());
        self
    }
}
