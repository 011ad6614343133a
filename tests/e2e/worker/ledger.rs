//! Requests that are counted at three places: when they are sent, when they are answered, and when
//! the plugin executes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::faults_copy;
use crate::reload::image::Image;
use crate::reload::{FILE, NAME, put};
use crate::support::accounting::ReplyAccounting;
use crate::support::background::BackgroundThread;
use crate::support::{HostBuilder, HostProcess, Peer};

/// The copy of the fixture `faults` that these tests use.
pub(super) const COPY: &str = "fault_00";

/// Clients, each with its own connection.
const CLIENTS: usize = 4;
/// Requests in flight of each client.
const WINDOW: usize = 8;

/// The counts of all clients and of the plugin.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) answered: Replies,
    pub(super) executed: u64,
}

impl Counts {
    pub(super) fn results(&self) -> u64 {
        self.answered.get(&None).copied().unwrap_or_default()
    }

    /// Asserts that each request was executed once and answered with a result.
    #[track_caller]
    pub(super) fn assert_complete(&self, what: &str) {
        println!("{what}: {self:?}");
        assert!(self.sent > 0, "{what}: {self:?}");
        assert_eq!((self.results(), self.executed), (self.sent, self.sent), "{what}: {self:?}");
    }
}

/// The replies by error code; `None` for results.
type Replies = BTreeMap<Option<i64>, u64>;

/// Clients that send requests until they are stopped.
pub(super) struct Ledger {
    clients: Vec<BackgroundThread<(u64, Replies)>>,
    executions: PathBuf,
    executed_before: u64,
}

/// Returns a host that is to serve a version of the fixture `faults`, with these keys for it. Its
/// executions are counted.
pub(super) fn builder(config: &str) -> HostBuilder {
    let builder = HostProcess::builder();
    put(&builder.directory().join("plugins"), &version(1).0, FILE);
    let settings = settings(builder.directory());
    builder.config(&format!("[plugins]\nwatch = false\n{config}\n{settings}"))
}

/// Returns the settings that count executions and starts.
pub(super) fn settings(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "[plugin.{NAME}.settings]\nexecutions = \"{directory}/executions\"\nstarts = \"{directory}/starts\"\n\
        aborts = \"{directory}/aborts\"\n"
    )
}

/// Returns the fixture `faults` in this version.
pub(super) fn version(number: u32) -> Image {
    faults_copy(0).with("VERSION-", &format!("{number:06}"))
}

/// Returns the length of a file that the fixture writes one byte per event to.
pub(super) fn events(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

impl Ledger {
    pub(super) fn start(host: &HostProcess) -> Self {
        let executions = host.path("executions");
        let executed_before = events(&executions);
        let client = |number| {
            let peer = host.peer();
            BackgroundThread::start(move |is_over| send_until(peer, number, is_over))
        };
        Self { clients: (0..CLIENTS).map(client).collect(), executions, executed_before }
    }

    /// Waits for the last replies and returns the counts.
    pub(super) fn stop(mut self) -> Counts {
        let mut counts = Counts::default();
        for (sent, answered) in self.clients.iter_mut().filter_map(BackgroundThread::stop) {
            counts.sent += sent;
            for (code, count) in answered {
                *counts.answered.entry(code).or_default() += count;
            }
        }
        counts.executed = events(&self.executions) - self.executed_before;
        counts
    }
}

/// Sends requests until `is_over`, or until the host closes the connection, and waits for their
/// replies. Returns the number of requests, and that of the replies by code.
fn send_until(mut peer: Peer, client: usize, is_over: &AtomicBool) -> (u64, Replies) {
    let methods = ["count", "count_blocking", "count_async"];
    let (mut accounting, mut answered) = (ReplyAccounting::default(), BTreeMap::new());
    let (mut sent, mut open) = (0_u64, 0);

    loop {
        while open < WINDOW && !is_over.load(Ordering::Relaxed) {
            let id = sent.to_string();
            accounting.record_request(&id);
            let method = methods[(client + open) % methods.len()];
            peer.send_async(&id, &format!("{COPY}.{method}"), &json!([client, sent]));
            (sent, open) = (sent + 1, open + 1);
        }
        if open == 0 {
            accounting.check().expect("each request is answered once");
            return (sent, answered);
        }

        let reply = peer.receive();
        accounting.record_reply(&reply);
        if reply.code().is_none() {
            let id: u64 = reply.id().and_then(|id| id.parse().ok()).expect("an id of this client");
            assert_eq!(reply.result(), json!([client, id]));
        }
        *answered.entry(reply.code()).or_default() += 1;
        open -= 1;
    }
}
