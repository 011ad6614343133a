//! `[limits]` and `[timeouts]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::Section;
use super::units::{GIB, KIB, MIB, write_size};
use super::wording::quoted;

/// Limits of what a host accepts at once. Requests and connections beyond a limit are rejected with
/// an error reply; nothing is queued without bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload, in bytes, 1 KiB to 4 GiB - 1 (the length field of the protocol has 32
    /// bits). Default 16 MiB. At most `buffers`.
    pub frame: u32,

    /// Open connections over all listeners, 1 to 1,000,000. Default 4,096.
    pub connections: usize,

    /// Requests in flight over all connections, 1 to 1,000,000. Default 16,384.
    pub in_flight: usize,

    /// Requests in flight on one connection, 1 to `in_flight`. Default 1,024.
    pub in_flight_per_connection: usize,

    /// Bytes that all connections together may buffer, 64 KiB to 1 TiB. Default 256 MiB.
    pub buffers: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame: 16 << 20,
            connections: 4096,
            in_flight: 16_384,
            in_flight_per_connection: 1024,
            buffers: 256 * MIB,
        }
    }
}

/// Time-outs, each 1 ms to 24 h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the acceptance of a request to its reply. A route can set another time-out, and a
    /// request a shorter one. Default 30 s.
    pub request: Duration,

    /// From the first byte of a frame to its last. Long payloads get more time, according to their
    /// size. Default 5 s.
    pub frame: Duration,

    /// Without progress towards a peer that does not read. Default 10 s.
    pub write: Duration,

    /// Without a frame and without a request in flight on a connection. Default 5 min.
    pub idle: Duration,

    /// How long an `inline` method may occupy the I/O thread of its connection. A method that takes
    /// longer three times in a minute is demoted to the threads of its plugin. Default 100 ms: a
    /// busy machine can suspend a thread for some tens of milliseconds.
    pub inline: Duration,

    /// From the request to stop until the requests that are still in flight are aborted. Default
    /// 30 s.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            request: Duration::from_secs(30),
            frame: Duration::from_secs(5),
            write: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            inline: Duration::from_millis(100),
            drain: Duration::from_secs(30),
        }
    }
}

/// A million is far above what the descriptors and the memory of one process allow, and low enough
/// to detect an accidental zero.
pub(super) const COUNT: RangeInclusive<usize> = 1..=1_000_000;

/// A day: a time-out that is meant to be infinite still ends.
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

const FRAME: RangeInclusive<u64> = KIB..=4 * GIB - 1;
const BUFFERS: RangeInclusive<u64> = 64 * KIB..=1024 * GIB;

pub(super) fn read_limits(section: Section<'_>) -> Limits {
    let default = Limits::default();
    let in_flight = section.count("in_flight", COUNT, default.in_flight);
    let buffers = section.size("buffers", BUFFERS, default.buffers);

    // A limit that is not set adapts to those that are: a file that lowers a total need not set its
    // parts.
    let frame = section.size("frame", FRAME, buffers.min(u64::from(default.frame)));
    let per_connection = in_flight.min(default.in_flight_per_connection);
    let limits = Limits {
        frame: u32::try_from(frame).unwrap_or(u32::MAX),
        connections: section.count("connections", COUNT, default.connections),
        in_flight,
        in_flight_per_connection: section.count("in_flight_per_connection", COUNT, per_connection),
        buffers,
    };

    if limits.in_flight_per_connection > in_flight {
        let part = limits.in_flight_per_connection;
        section.fault(
            section.offset_of("in_flight_per_connection"),
            format!("limits.in_flight_per_connection = {part} is more than limits.in_flight = {in_flight}"),
            format!("write at most {in_flight}, or raise in_flight"),
        );
    }
    if frame > buffers {
        let (part, whole) = (quoted(&write_size(frame)), quoted(&write_size(buffers)));
        section.fault(
            section.offset_of("frame"),
            format!(
                "limits.frame {part} is more than limits.buffers {whole}, so such a frame would never fit"
            ),
            format!("write at most {whole}, or raise buffers to {part} or more"),
        );
    }
    section.close();
    limits
}

pub(super) fn read_timeouts(section: Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    let timeouts = Timeouts {
        request: section.duration("request", TIMEOUT, default.request),
        frame: section.duration("frame", TIMEOUT, default.frame),
        write: section.duration("write", TIMEOUT, default.write),
        idle: section.duration("idle", TIMEOUT, default.idle),
        inline: section.duration("inline", TIMEOUT, default.inline),
        drain: section.duration("drain", TIMEOUT, default.drain),
    };
    section.close();
    timeouts
}
