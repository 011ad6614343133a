//! What a connection counts, and tells the host before each write.

use jackfield_protocol::Code;

use crate::dispatch::{Dispatcher, Ended};

/// What a connection has counted since it last told the host.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    results: u64,
    errors: u64,
    deadlines_exceeded: u64,
    overloaded: u64,
    denied: u64,
    panics: u64,
    pub(super) heartbeats: u64,
    pub(super) unknown_kinds: u64,
    pub(super) late_results: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Tally {
    /// Adds everything to the host's counters: once per write, not once per request.
    pub(super) fn publish(&mut self, dispatcher: &Dispatcher) {
        let counters = &dispatcher.counters;
        for (counted, counter) in [
            (&mut self.requests, &counters.requests),
            (&mut self.results, &counters.results),
            (&mut self.errors, &counters.errors),
            (&mut self.deadlines_exceeded, &counters.deadlines_exceeded),
            (&mut self.overloaded, &counters.overloaded),
            (&mut self.denied, &counters.denied),
            (&mut self.panics, &counters.panics),
            (&mut self.heartbeats, &counters.heartbeats),
            (&mut self.unknown_kinds, &counters.unknown_kinds),
            (&mut self.late_results, &counters.late_results),
            (&mut self.bytes_in, &counters.bytes_in),
            (&mut self.bytes_out, &counters.bytes_out),
        ] {
            if *counted > 0 {
                counter.add(std::mem::take(counted));
            }
        }
    }

    /// Counts a reply.
    pub(super) fn answered(&mut self, ended: Ended) {
        let Ended::Error(code) = ended else {
            self.results += 1;
            return;
        };
        self.errors += 1;
        match Code::from_i64(code) {
            Some(Code::DeadlineExceeded) => self.deadlines_exceeded += 1,
            Some(Code::Overloaded) => self.overloaded += 1,
            Some(Code::PermissionDenied) => self.denied += 1,
            Some(Code::PluginPanicked) => self.panics += 1,
            _ => {}
        }
    }
}
