//! The plan of a load: the arguments with every default filled in.

use std::time::Duration;

use super::args::BenchArgs;

/// Default for the requests in flight on each connection of an open loop: enough that a request
/// seldom waits for a reply, and well below the default limits of the host.
const OPEN_LOOP_WINDOW: u32 = 256;

/// The load to generate.
#[derive(Debug, Clone)]
pub(super) struct LoadPlan {
    pub(super) connections: u32,

    /// Upper bound for the requests in flight on each connection.
    pub(super) window: u32,

    pub(super) until: StopCondition,

    /// Time between two requests of an open loop. `None` in a closed loop, which sends the next
    /// request as soon as a connection has room for it.
    pub(super) interval: Option<Duration>,

    /// Time to wait for replies after the last request.
    pub(super) timeout: Duration,
}

/// The condition after which no further request is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum StopCondition {
    Elapsed(Duration),
    Sent(u64),
}

impl LoadPlan {
    pub(super) fn of(args: &BenchArgs) -> Self {
        let interval = args.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let default_window = if interval.is_some() { OPEN_LOOP_WINDOW } else { 1 };

        Self {
            connections: args.connections,
            window: args.window.unwrap_or(default_window),
            until: args.count.map_or(StopCondition::Elapsed(args.duration), StopCondition::Sent),
            interval,
            timeout: args.timeout,
        }
    }
}
