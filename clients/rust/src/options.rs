//! The settings of a client, each with its default, unit and bounds.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jackfield_protocol::FrameLimit;

use crate::call_context::CallContext;

/// How a call uses the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mode {
    /// Kind `04`: many calls share a connection, and replies come in any order.
    ///
    /// A call that is dropped or times out does not affect other calls.
    #[default]
    Multiplexed,
    /// Kind `01`: the call has a connection to itself until its reply arrives.
    ///
    /// A call that is dropped or times out closes that connection.
    Exclusive,
}

/// The settings of one client, as [`Builder`](crate::Builder) documents them.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) path: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) max_waiting: usize,
    pub(crate) max_tries: u32,
    pub(crate) frame_limit: FrameLimit,
    pub(crate) health_check_after: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) negotiates: bool,
    /// Trace and metadata of calls that set none of their own.
    pub(crate) context: CallContext,
}

impl Options {
    /// Returns the defaults, which suit a host on the same machine. The PHP client has the same.
    pub(crate) fn new(path: &Path) -> Options {
        let path = path.to_str().and_then(|text| text.strip_prefix("unix://")).map_or(path, Path::new);
        Options {
            path: path.to_owned(),
            mode: Mode::default(),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::MAX,
            max_connections: 20,
            max_in_flight: 512,
            max_waiting: 16_384,
            max_tries: 3,
            frame_limit: FrameLimit::default(),
            health_check_after: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(240),
            negotiates: true,
            context: CallContext::default(),
        }
    }

    /// Returns the deadline of a call that begins at `now`.
    ///
    /// Without a `timeout`, that of the client applies.
    pub(crate) fn deadline(&self, now: Instant, timeout: Option<Duration>) -> Instant {
        after(now, timeout.unwrap_or(self.timeout))
    }
}

/// Returns `now + duration`, where `duration` is capped at one day.
///
/// The cap keeps the sum within the range of the clock; no call is expected to wait for longer.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(86_400);
    now + duration.min(DAY)
}
