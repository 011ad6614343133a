//! A ledger by method: what was sent before it is sent, what was answered once it is in hand; and
//! the comparison of a scrape with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::support::scrape::{Scrape, count as whole};
use crate::support::{Frame, HostProcess, Peer};

/// How a request was asked, and for what.
pub(super) type Asked = (&'static str, String);

/// The numbers of a ledger at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Books {
    /// Requests that were sent or are just about to be.
    pub(super) sent: BTreeMap<Asked, u64>,
    /// Those whose reply is in hand, by outcome.
    pub(super) ended: BTreeMap<(Asked, String), u64>,
    /// Those of them whose method was begun.
    pub(super) begun: BTreeMap<String, u64>,
    pub(super) connections: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_came: u64,
}

/// The name that an outcome has among the labels.
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

impl Books {
    fn answered(&mut self, asked: Asked, outcome: &str) {
        if !["method_not_found", "overloaded", "plugin_unavailable", "parse_error", "abandoned"]
            .contains(&outcome)
        {
            *self.begun.entry(asked.1.clone()).or_default() += 1;
        }
        *self.ended.entry((asked, outcome.to_owned())).or_default() += 1;
    }
}

/// The ledger of a test, kept by all of its clients.
#[derive(Clone, Default)]
pub(super) struct Keeper(Arc<Mutex<Books>>);

impl Keeper {
    pub(super) fn now(&self) -> Books {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn write<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// A client whose every frame is written down.
    #[track_caller]
    pub(super) fn client(&self, host: &HostProcess) -> Client {
        self.client_of(host, "run/jackfield.sock")
    }

    #[track_caller]
    pub(super) fn client_of(&self, host: &HostProcess, socket: &str) -> Client {
        self.write(|books| books.connections += 1);
        Client { peer: Peer::connect(&host.path(socket)), keeper: self.clone() }
    }
}

/// A client that keeps the books.
pub(super) struct Client {
    pub(super) peer: Peer,
    keeper: Keeper,
}

impl Client {
    /// Sends these frames in one write, which ask for these.
    #[track_caller]
    pub(super) fn send(&mut self, bytes: &[u8], asked: &[Asked]) {
        self.keeper.write(|books| {
            books.bytes_sent += bytes.len() as u64;
            asked.iter().for_each(|asked| *books.sent.entry(asked.clone()).or_default() += 1);
        });
        self.peer.send(bytes);
    }

    /// The next reply, which is to this; `None` for a heartbeat.
    #[track_caller]
    pub(super) fn receive(&mut self, asked: Option<Asked>) -> Frame {
        let frame = self.peer.receive();
        match asked {
            Some(asked) => self.wrote(&frame, asked),
            None => self.keeper.write(|books| books.bytes_came += 7),
        }
        frame
    }

    /// This frame has come, the reply to that.
    pub(super) fn wrote(&self, frame: &Frame, asked: Asked) {
        self.keeper.write(|books| {
            books.bytes_came += 7 + frame.payload.len() as u64;
            books.answered(asked, outcome(frame.code()));
        });
    }

    /// The client goes, and these of its requests have no reply.
    pub(super) fn abandon(self, asked: &[Asked]) {
        self.keeper.write(|books| asked.iter().for_each(|asked| books.answered(asked.clone(), "abandoned")));
    }
}

/// What a scrape shows of requests, in the ledger's words.
pub(super) fn ended(scrape: &Scrape) -> BTreeMap<(Asked, String), u64> {
    let series = scrape.all("ipc_requests_total").map(|(labels, count)| {
        let kind = if labels["kind"] == "sync" { "sync" } else { "async" };
        (((kind, labels["method"].clone()), labels["outcome"].clone()), whole(count))
    });
    series.collect()
}

/// What a scrape must be whenever it is made: within what was sent after it and what was answered
/// before, and with nothing that was accepted and is neither ended nor in flight.
pub(super) fn check(before: &Books, scrape: &Scrape, after: &Books) -> Result<(), String> {
    let ended = ended(scrape);
    for (key, count) in before.ended.iter().filter(|((_, outcome), _)| outcome != "abandoned") {
        let have = ended.get(key).copied().unwrap_or(0);
        if have < *count {
            return Err(format!("{key:?}: {count} replies are in hand, and {have} are counted"));
        }
    }
    let mut sums: BTreeMap<&Asked, u64> = BTreeMap::new();
    for ((asked, _), count) in &ended {
        *sums.entry(asked).or_default() += count;
    }
    let mut pending = 0;
    let mut all = 0;
    for (labels, accepted) in scrape.all("ipc_requests_accepted_total") {
        let kind = if labels["kind"] == "sync" { "sync" } else { "async" };
        let (asked, accepted) = ((kind, labels["method"].clone()), whole(accepted));
        let in_flight = scrape.value("ipc_requests_in_flight", &[("kind", kind), ("method", &asked.1)]);
        let ended = sums.get(&asked).copied().unwrap_or(0);
        if accepted != ended + in_flight {
            return Err(format!("{asked:?}: {accepted} accepted, {ended} ended, {in_flight} in flight"));
        }
        let sent = after.sent.get(&asked).copied().unwrap_or(0);
        if accepted > sent {
            return Err(format!("{asked:?}: {accepted} accepted of {sent}"));
        }
        all += in_flight;
        pending += if kind == "async" { in_flight } else { 0 };
    }
    let late = |((asked, outcome), _): &(&(Asked, String), &u64)| {
        asked.0 == "async" && outcome == "deadline_exceeded"
    };
    let late: u64 = ended.iter().filter(late).map(|(_, count)| count).sum();
    for (name, wanted) in
        [("ipc_in_flight", all), ("ipc_async_pending", pending), ("ipc_async_timeout_total", late)]
    {
        let have = scrape.value(name, &[]);
        if have != wanted {
            return Err(format!("{name} is {have} and should be {wanted}"));
        }
    }
    Ok(())
}

/// What a scrape must be when nothing goes on: the books, to the last number.
pub(super) fn equal(scrape: &Scrape, books: &Books) -> Result<(), String> {
    check(books, scrape, books)?;
    let same = |what: &str, have: u64, wanted: u64| {
        if have == wanted { Ok(()) } else { Err(format!("{what}: {have}, and the books say {wanted}")) }
    };
    let ended = ended(scrape);
    if ended != books.ended {
        return Err(format!("have {ended:#?}\nbooks {:#?}", books.ended));
    }
    same("in flight", scrape.value("ipc_in_flight", &[]), 0)?;
    same("connections", scrape.value("ipc_connections_total", &[]), books.connections)?;
    same("bytes in", scrape.value("ipc_bytes_total", &[("direction", "in")]), books.bytes_sent)?;
    same("bytes out", scrape.value("ipc_bytes_total", &[("direction", "out")]), books.bytes_came)?;
    for (asked, sent) in &books.sent {
        let labels = [("kind", asked.0), ("method", asked.1.as_str())];
        same("accepted", scrape.value("ipc_requests_accepted_total", &labels), *sent)?;
    }
    for (method, count) in &books.begun {
        same(method, scrape.value("ipc_request_seconds_count", &[("method", method)]), *count)?;
    }
    same("begun", scrape.sum("ipc_request_seconds_count"), books.begun.values().sum())
}

/// No counter is smaller than in the scrape before.
pub(super) fn never_back(before: &Scrape, after: &Scrape) -> Result<(), String> {
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
