//! Cancellations that are repeated, late, foreign or unknown: every request has one reply.

use std::collections::{BTreeMap, VecDeque};
use std::thread;

use serde_json::{Value, json};

use crate::support::hello::{ALL, BLOCK, CANCEL, V1_2, agree, start_neighbour, without_block};
use crate::support::peer::{
    ASYNC_REQUEST, DEADLINE_EXCEEDED, METHOD_NOT_FOUND, SYNC, V1_1, envelope_with, frame,
};
use crate::support::random::SeededRandom;
use crate::support::{Frame, HostProcess, Peer, is_soak, wait_until};

const CANCELLED: i64 = -32800;

fn connect(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    agree(&mut peer, ALL);
    peer
}

fn cancel(id: &str) -> Vec<u8> {
    frame(V1_1, CANCEL, format!("{{\"id\":\"{id}\"}}"))
}

#[test]
fn answers_a_waiting_sync_request_in_its_turn_however_often_it_is_cancelled() {
    let host = HostProcess::with(&["counts"]);
    let mut peer = connect(&host);
    for (id, deadline) in [("1", 60_000), ("2", 60_000), ("3", 1), ("4", 60_000)] {
        let request =
            format!(r#"{{"id":"{id}","method":"counts.held","params":null,"deadline_ms":{deadline}}}"#);
        peer.send_frame(V1_1, SYNC, request);
    }
    // The third has expired, and waits for its turn.
    wait_until("one runs", || host.peer().result("counts.begun", &Value::Null) == json!(1));
    wait_until("its time is over", || {
        peer.send([cancel("2"), cancel("2"), cancel("3"), cancel("3"), cancel("2")].concat());
        host.count("cancels") + host.count("unknown_cancels") >= 50
    });
    host.peer().result("counts.release", &Value::Null);

    let replies = peer.receive_all(4);
    let ids: Vec<_> = replies.iter().map(|reply| reply.id().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    let codes: Vec<_> = replies.iter().map(Frame::code).collect();
    assert_eq!((codes[0], codes[1], codes[3]), (None, Some(CANCELLED), None));
    assert!(matches!(codes[2], Some(CANCELLED | DEADLINE_EXCEEDED)), "{codes:?}");
    assert_eq!(host.peer().result("counts.begun", &Value::Null), json!(2));
    peer.assert_usable();
}

/// The outcomes of one connection.
#[derive(Debug, Default)]
struct Ledger {
    sent: u64,
    cancels: u64,
    /// The replies by code; `None` for results.
    answered: BTreeMap<Option<i64>, u64>,
}

/// The requests of one connection that are not answered, the sync ones in the order in which they
/// were sent.
#[derive(Default)]
struct Open {
    sync: VecDeque<String>,
    asynchronous: Vec<String>,
}

impl Open {
    fn count(&self) -> usize {
        self.sync.len() + self.asynchronous.len()
    }

    /// Takes the request that this is the reply to. Sync requests are answered in their order.
    fn take(&mut self, reply: &Frame) -> String {
        let (is_sync, reply) = (reply.kind & !BLOCK == SYNC, without_block(reply.clone()));
        let id = reply.id().unwrap_or_else(|| panic!("{reply:?} has an id"));
        if is_sync {
            let expected = self.sync.pop_front();
            assert_eq!(expected.as_deref(), Some(&*id), "{reply:?}");
        } else {
            let at = self.asynchronous.iter().position(|open| *open == id);
            self.asynchronous.swap_remove(at.unwrap_or_else(|| panic!("{id} is in flight: {reply:?}")));
        }
        id
    }
}

/// Returns the envelope of a request for a method of `counts`, which a method of `calls` may call:
/// `chain counts.async`.
fn envelope(id: &str, method: &str, ms: u32) -> String {
    let params = json!({ "ms": ms });
    match method.split_once(' ') {
        Some((caller, method)) => {
            envelope_with(id, &format!("calls.{caller}"), &json!({ "method": method, "params": params }))
        }
        None => envelope_with(id, method, &params),
    }
}

/// Sends requests and cancellations at random, and accounts for each reply.
fn send_and_cancel(mut peer: Peer, number: u64, requests: u64) -> Ledger {
    const WINDOW: usize = 48;
    let mut random = SeededRandom::new(0xca4c_e100 + number);
    let (mut ledger, mut open) = (Ledger::default(), Open::default());
    let mut answered = "0".to_owned();

    while ledger.sent < requests || open.count() > 0 {
        let mut frames = Vec::new();
        while ledger.sent < requests && open.count() < WINDOW {
            ledger.sent += 1;
            let id = format!("{number}-{}", ledger.sent);
            let (method, ms) = *random.one_of(&[
                ("chain counts.async", 1),
                ("chain counts.blocking", 1),
                ("wait counts.async", 2),
                ("wait counts.inline", 0),
                ("counts.async", 0),
                ("counts.async", 1),
                ("counts.async", 3),
                ("counts.blocking", 0),
                ("counts.blocking", 1),
                ("counts.inline", 0),
                ("no.such", 0),
            ]);
            let is_sync = random.below(4) == 0;
            let (version, kind) = (*random.one_of(&[V1_1, V1_2]), if is_sync { SYNC } else { ASYNC_REQUEST });
            frames.extend(frame(version, kind, envelope(&id, method, ms)));

            let mut cancelled = vec![];
            match random.below(8) {
                // At once, once more, before it is sent, and in place of another one.
                0 | 1 => cancelled.push(id.clone()),
                2 => cancelled.extend([id.clone(), id.clone()]),
                3 => cancelled.push(format!("{number}-{}", ledger.sent + 1)),
                4 => cancelled.push(format!("{}-{}", (number + 1) % 4, ledger.sent)),
                5 => cancelled.push(answered.clone()),
                6 => cancelled.extend(open.sync.back().cloned()),
                _ => cancelled.extend(open.asynchronous.first().cloned()),
            }
            if is_sync {
                open.sync.push_back(id)
            } else {
                open.asynchronous.push(id)
            }
            ledger.cancels += cancelled.len() as u64;
            frames.extend(cancelled.iter().flat_map(|id| cancel(id)));
        }
        peer.send(frames);

        for _ in 0..open.count().min(1 + random.below(8)) {
            let reply = peer.receive();
            answered = open.take(&reply);
            *ledger.answered.entry(without_block(reply).code()).or_default() += 1;
        }
    }
    peer.assert_usable();
    ledger
}

#[test]
fn answers_each_request_once_in_a_flood_of_cancellations() {
    const CONNECTIONS: u64 = 4;
    let requests = if is_soak() { 50_000 } else { 1_000 };
    // Methods of `calls` call those of `counts`, each in the host or in a worker.
    for workers in [&[][..], &["calls"], &["counts"], &["calls", "counts"]] {
        let mut config = String::new();
        for plugin in ["calls", "counts"] {
            let isolation = if workers.contains(&plugin) { "worker" } else { "in-process" };
            config += &format!(
                "[plugin.{plugin}]\nthreads = 2\nisolation = \"{isolation}\"\nbreaker = {{ failures = 5 }}\n"
            );
        }
        let host = HostProcess::builder().plugin("calls").plugin("counts").config(&config).start();
        let mut neighbour = start_neighbour(&host);

        let ledgers: Vec<Ledger> = thread::scope(|scope| {
            let clients = (0..CONNECTIONS).map(|number| {
                let peer = connect(&host);
                scope.spawn(move || send_and_cancel(peer, number, requests))
            });
            let clients: Vec<_> = clients.collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });

        wait_until("nothing is in flight", || host.count("in_flight") == 0);
        assert_balanced(&host, &ledgers);
        assert!(neighbour.stop() > Some(0));
    }
}

/// Asserts that each request has one reply, that each cancellation is counted, and that no method
/// with a result has not run.
fn assert_balanced(host: &HostProcess, ledgers: &[Ledger]) {
    for ledger in ledgers {
        assert_eq!(ledger.answered.values().sum::<u64>(), ledger.sent);
        let expected = [None, Some(CANCELLED), Some(METHOD_NOT_FOUND)];
        assert!(ledger.answered.keys().all(|code| expected.contains(code)), "{ledger:?}");
    }
    let answered = |code| ledgers.iter().filter_map(|ledger| ledger.answered.get(&code)).sum::<u64>();
    let (results, cancelled) = (answered(None), answered(Some(CANCELLED)));
    let executed = host.peer().result("counts.begun", &Value::Null).as_u64().unwrap();
    let (known, unknown) = (host.count("cancels"), host.count("unknown_cancels"));
    println!(
        "{known} known, {unknown} unknown cancellations; {cancelled} cancelled, {results} results, {executed} executed"
    );

    assert_eq!(known + unknown, ledgers.iter().map(|ledger| ledger.cancels).sum::<u64>());
    assert!(0 < cancelled && cancelled <= known, "{cancelled} of {known}");
    // A cancelled call may have begun. A call with a result has run, once.
    assert!(results <= executed && executed <= results + cancelled, "{results}, {executed}, {cancelled}");
    assert!(!host.log_contains("circuit breaker"), "{}", host.log());
}

#[test]
fn reads_on_while_a_client_sends_only_cancellations() {
    let count = if is_soak() { 1_000_000 } else { 100_000 };
    let host = HostProcess::with(&["sleeps"]);
    let mut neighbour = start_neighbour(&host);
    let (mut flood, mut victim) = (connect(&host), connect(&host));
    victim.send_async("victim", "sleep.held", &json!(1));
    wait_until("the call waits", || host.count("in_flight") == 1);

    // They have no answers, so that nothing holds the client back but the speed of the host.
    flood.send(cancel("victim").repeat(count / 2));
    flood.send(cancel("no such id").repeat(count / 2));
    wait_until("all are read", || host.count("unknown_cancels") == count as u64);

    flood.assert_usable();
    assert_eq!(host.count("cancels"), 0);
    host.peer().result("sleep.release", &json!(1));
    assert_eq!(victim.receive().result(), json!(1));
    assert!(neighbour.stop() > Some(0));
}
