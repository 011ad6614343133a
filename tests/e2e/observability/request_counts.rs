//! Requests and replies per method, as counted by the clients of a test, and their comparison with
//! a scrape.
//!
//! A request is counted before it is sent and a reply after it is received. So a scrape is never
//! below the replies that were counted before it, and never above the requests that were counted
//! after it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::support::scrape::{Scrape, count as to_count};
use crate::support::{Frame, HostProcess, Peer};

/// The kind and the method of a request.
pub(super) type Request = (&'static str, String);

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RequestCounts {
    /// Requests that were sent or are about to be.
    pub(super) sent: BTreeMap<Request, u64>,
    /// Requests that were answered, by outcome.
    pub(super) answered: BTreeMap<(Request, String), u64>,
    /// Answered requests whose method was started.
    pub(super) started: BTreeMap<String, u64>,
    pub(super) connections: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
}

/// Returns the label value of an outcome.
pub(super) fn outcome(code: Option<i64>) -> &'static str {
    match code {
        None => "ok",
        Some(-32700) => "parse_error",
        Some(-32600) => "invalid_request",
        Some(-32601) => "method_not_found",
        Some(-32602) => "invalid_params",
        Some(-32603) => "internal_error",
        Some(-32001) => "deadline_exceeded",
        Some(-32002) => "overloaded",
        Some(-32003) => "plugin_panicked",
        Some(-32005) => "plugin_unavailable",
        Some(code) if code > 0 => "plugin_error",
        Some(code) => panic!("no outcome that a test brings about: {code}"),
    }
}

impl RequestCounts {
    fn record_answer(&mut self, request: Request, outcome: &str) {
        if !["method_not_found", "overloaded", "plugin_unavailable", "parse_error", "abandoned"]
            .contains(&outcome)
        {
            *self.started.entry(request.1.clone()).or_default() += 1;
        }

        *self.answered.entry((request, outcome.to_owned())).or_default() += 1;
    }
}

/// Counts that all clients of a test share.
#[derive(Clone, Default)]
pub(super) struct SharedCounts(Arc<Mutex<RequestCounts>>);

impl SharedCounts {
    pub(super) fn now(&self) -> RequestCounts {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut RequestCounts) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Opens a connection whose frames are counted.
    #[track_caller]
    pub(super) fn client(&self, host: &HostProcess) -> CountingClient {
        self.client_at(host, "run/jackfield.sock")
    }

    #[track_caller]
    pub(super) fn client_at(&self, host: &HostProcess, socket: &str) -> CountingClient {
        self.update(|counts| counts.connections += 1);
        CountingClient { peer: Peer::connect(&host.path(socket)), counts: self.clone() }
    }
}

/// A client that counts its frames.
pub(super) struct CountingClient {
    pub(super) peer: Peer,
    counts: SharedCounts,
}

impl CountingClient {
    /// Sends the frames of these requests in one write.
    #[track_caller]
    pub(super) fn send(&mut self, bytes: &[u8], requests: &[Request]) {
        self.counts.update(|counts| {
            counts.bytes_sent += bytes.len() as u64;
            requests.iter().for_each(|request| *counts.sent.entry(request.clone()).or_default() += 1);
        });
        self.peer.send(bytes);
    }

    /// Returns the next reply, which belongs to this request, or to a heartbeat if `request` is
    /// `None`.
    #[track_caller]
    pub(super) fn receive(&mut self, request: Option<Request>) -> Frame {
        let frame = self.peer.receive();
        match request {
            Some(request) => self.record_reply(&frame, request),
            None => self.counts.update(|counts| counts.bytes_received += 7),
        }
        frame
    }

    /// Counts a frame that was received as the reply to this request.
    pub(super) fn record_reply(&self, frame: &Frame, request: Request) {
        self.counts.update(|counts| {
            counts.bytes_received += 7 + frame.payload.len() as u64;
            counts.record_answer(request, outcome(frame.code()));
        });
    }

    /// Closes the connection while these requests have no reply.
    pub(super) fn abandon(self, requests: &[Request]) {
        self.counts.update(|counts| {
            requests.iter().for_each(|request| counts.record_answer(request.clone(), "abandoned"))
        });
    }
}

/// Returns the answered requests of a scrape, by outcome.
pub(super) fn answered(scrape: &Scrape) -> BTreeMap<(Request, String), u64> {
    let series = scrape.all("ipc_requests_total").map(|(labels, count)| {
        let kind = if labels["kind"] == "sync" { "sync" } else { "async" };
        (((kind, labels["method"].clone()), labels["outcome"].clone()), to_count(count))
    });
    series.collect()
}

/// Checks a scrape against the counts before and after it.
///
/// # Errors
///
/// If it misses a reply that was counted before, if it has a request that was not sent, or if an
/// accepted request is neither answered nor in flight.
pub(super) fn check(before: &RequestCounts, scrape: &Scrape, after: &RequestCounts) -> Result<(), String> {
    let answered = answered(scrape);
    for (key, count) in before.answered.iter().filter(|((_, outcome), _)| outcome != "abandoned") {
        let have = answered.get(key).copied().unwrap_or(0);
        if have < *count {
            return Err(format!("{key:?}: {count} replies are in hand, and {have} are counted"));
        }
    }

    let mut sums: BTreeMap<&Request, u64> = BTreeMap::new();
    for ((request, _), count) in &answered {
        *sums.entry(request).or_default() += count;
    }

    let mut pending = 0;
    let mut all = 0;
    for (labels, accepted) in scrape.all("ipc_requests_accepted_total") {
        let kind = if labels["kind"] == "sync" { "sync" } else { "async" };
        let (request, accepted) = ((kind, labels["method"].clone()), to_count(accepted));
        let in_flight = scrape.value("ipc_requests_in_flight", &[("kind", kind), ("method", &request.1)]);
        let answered = sums.get(&request).copied().unwrap_or(0);
        if accepted != answered + in_flight {
            return Err(format!(
                "{request:?}: {accepted} accepted, {answered} answered, {in_flight} in flight"
            ));
        }
        let sent = after.sent.get(&request).copied().unwrap_or(0);
        if accepted > sent {
            return Err(format!("{request:?}: {accepted} accepted of {sent}"));
        }

        all += in_flight;
        pending += if kind == "async" { in_flight } else { 0 };
    }
    let late = |((request, outcome), _): &(&(Request, String), &u64)| {
        request.0 == "async" && outcome == "deadline_exceeded"
    };
    let late: u64 = answered.iter().filter(late).map(|(_, count)| count).sum();
    for (name, expected) in
        [("ipc_in_flight", all), ("ipc_async_pending", pending), ("ipc_async_timeout_total", late)]
    {
        let have = scrape.value(name, &[]);
        if have != expected {
            return Err(format!("{name} is {have} and should be {expected}"));
        }
    }
    Ok(())
}

/// Checks that a scrape equals the counts exactly. Nothing must be in flight.
///
/// # Errors
///
/// The first difference.
pub(super) fn check_equal(scrape: &Scrape, counts: &RequestCounts) -> Result<(), String> {
    check(counts, scrape, counts)?;
    let equal = |what: &str, have: u64, expected: u64| {
        if have == expected { Ok(()) } else { Err(format!("{what}: {have}, but the counts are {expected}")) }
    };

    let answered = answered(scrape);
    if answered != counts.answered {
        return Err(format!("have {answered:#?}\ncounts {:#?}", counts.answered));
    }

    equal("in flight", scrape.value("ipc_in_flight", &[]), 0)?;
    equal("connections", scrape.value("ipc_connections_total", &[]), counts.connections)?;
    equal("bytes in", scrape.value("ipc_bytes_total", &[("direction", "in")]), counts.bytes_sent)?;
    equal("bytes out", scrape.value("ipc_bytes_total", &[("direction", "out")]), counts.bytes_received)?;
    for (request, sent) in &counts.sent {
        let labels = [("kind", request.0), ("method", request.1.as_str())];
        equal("accepted", scrape.value("ipc_requests_accepted_total", &labels), *sent)?;
    }
    for (method, count) in &counts.started {
        equal(method, scrape.value("ipc_request_seconds_count", &[("method", method)]), *count)?;
    }
    equal("started", scrape.sum("ipc_request_seconds_count"), counts.started.values().sum())
}

/// Checks that no counter decreases from one scrape to the next.
///
/// # Errors
///
/// The first counter that decreases.
pub(super) fn check_monotonic(before: &Scrape, after: &Scrape) -> Result<(), String> {
    let after: BTreeMap<_, _> =
        after.samples().map(|(name, labels, value)| ((name, labels), value)).collect();

    for (name, labels, value) in before.samples() {
        let grows = name.ends_with("_total") || name.starts_with("ipc_request_seconds");
        let now = after.get(&(name, labels));
        if grows && now.is_none_or(|now| *now < value) {
            return Err(format!("{name}{labels:?} was {value} and is {now:?}"));
        }
    }
    Ok(())
}
