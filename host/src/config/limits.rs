//! `[limits]` and `[timeouts]`: how much at once, and how long.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::Section;
use super::units::{GIB, KIB, MIB, write_size};
use super::wording::quoted;

/// How much a host accepts at once. What goes beyond is rejected or shed with an error reply, never queued
/// without end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload accepted, in bytes, 1 KiB to 4 GiB - 1 (the protocol's length field is 32 bits
    /// wide). Default 16 MiB. At most `buffers`.
    pub frame: u32,
    /// Connections open at once, over all listeners, 1 to 1,000,000. Default 4,096.
    pub connections: usize,
    /// Requests accepted and not answered, over all connections, 1 to 1,000,000. Default 16,384.
    pub in_flight: usize,
    /// Requests accepted and not answered on one connection, 1 to `in_flight`. Default 1,024.
    pub in_flight_per_connection: usize,
    /// Bytes of payload held in memory at once, over all connections, 64 KiB to 1 TiB. Default 256 MiB.
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

/// How long things may take, each 1 ms to 24 h.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From a request's acceptance to its reply, where neither the request nor its route says less. Default
    /// 30 s.
    pub request: Duration,
    /// From the first byte of a frame to its last; long payloads get more, for their size. Default 5 s.
    pub frame: Duration,
    /// Without progress towards a peer that does not read. Default 10 s.
    pub write: Duration,
    /// Without a frame and without a request in flight on a connection. Default 5 min.
    pub idle: Duration,
    /// How long an `inline` method may hold the thread that serves its connection; one that does so longer, three
    /// times in a minute, is moved to the plugin's own threads. Default 100 ms: a busy machine suspends threads for
    /// tens of them.
    pub inline: Duration,
    /// From the order to stop to the moment when what is still in flight is cut. Default 30 s.
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

/// A million: far above what one process's descriptors and memory allow, low enough to catch a slipped zero.
pub(super) const COUNT: RangeInclusive<usize> = 1..=1_000_000;
/// A day: whoever means "no timeout" gets one that still ends.
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
const FRAME: RangeInclusive<u64> = KIB..=4 * GIB - 1;
const BUFFERS: RangeInclusive<u64> = 64 * KIB..=1024 * GIB;

pub(super) fn read_limits(section: Section<'_>) -> Limits {
    let default = Limits::default();
    let in_flight = section.count("in_flight", COUNT, default.in_flight);
    let buffers = section.size("buffers", BUFFERS, default.buffers);
    // What is not written gives way to what is: whoever lowers the total need not know the parts.
    let frame = section.size("frame", FRAME, buffers.min(u64::from(default.frame)));
    let of_one = in_flight.min(default.in_flight_per_connection);
    let limits = Limits {
        frame: u32::try_from(frame).unwrap_or(u32::MAX),
        connections: section.count("connections", COUNT, default.connections),
        in_flight,
        in_flight_per_connection: section.count("in_flight_per_connection", COUNT, of_one),
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
