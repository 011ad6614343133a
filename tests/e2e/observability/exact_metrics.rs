//! A scrape is equal to a ledger: within it while mixed load runs and plugins are replaced, to the
//! last number behind it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};

use super::accounting::{Asked, Client, Keeper, check, equal, never_back};
use crate::support::http::address;
use crate::support::peer::{ASYNC_REQUEST, SYNC, V1_0, V1_1, envelope, envelope_with, frame};
use crate::support::scrape::Scrape;
use crate::support::{HostProcess, wait_until};

/// How many scrapes are made while the load runs.
const SCRAPES: u64 = 12;

/// From one to the next.
const PAUSE: Duration = Duration::from_millis(200);

const PLUGINS: [&str; 5] = ["echoes", "counts", "sleeps", "errors", "panics"];

/// Everything fails here, and nobody may be kept from failing.
const CONFIG: &str = r#"
    [plugins.probation]
    calls = 0
    [plugin.panics.breaker]
    failures = 0
    [plugin.sleeps.breaker]
    failures = 0
    [plugin.counts]
    threads = 4
    [[route]]
    method = "sleep.deaf"
    plugin = "sleeps"
    timeout = "30ms"
    [[route]]
    method = "counts.blocking"
    plugin = "counts"
    max_in_flight = 2
"#;

const UNKNOWN: &str = "(unknown)";

fn sync(method: &str) -> Asked {
    ("sync", method.to_owned())
}

fn later(method: &str) -> Asked {
    ("async", method.to_owned())
}

/// One sync request, written down under `counted`.
fn call(client: &mut Client, method: &str, params: &Value, counted: &str) {
    client.send(&frame(V1_0, SYNC, envelope(method, params)), &[sync(counted)]);
    client.receive(Some(sync(counted)));
}

/// Sync requests of every ending.
fn sync_round(client: &mut Client, round: u64) {
    call(client, "system.echo", &json!([round]), "system.echo");
    call(client, "fixture.echo_blocking", &json!("x"), "fixture.echo_blocking");
    call(client, "errors.fail", &json!({ "code": 7, "message": "m" }), "errors.fail");
    call(client, "errors.fail", &json!([]), "errors.fail");
    call(client, &format!("no.such.m{round}"), &Value::Null, UNKNOWN);
    call(client, "vice.panic", &Value::Null, "vice.panic");
    client.send(&frame(V1_0, SYNC, "{"), &[sync(UNKNOWN)]);
    client.receive(Some(sync(UNKNOWN)));
    client.send(&frame(V1_0, 2, ""), &[]);
    client.receive(None);
}

/// Async requests of every ending, all in one write.
fn async_round(client: &mut Client, round: u64) {
    let mut asked = BTreeMap::new();
    let mut bytes = Vec::new();
    let mut ask = |method: &str, params: &Value, counted: &str| {
        let id = format!("{round}-{}", asked.len());
        bytes.extend(frame(V1_1, ASYNC_REQUEST, envelope_with(&id, method, params)));
        asked.insert(id, later(counted));
    };
    for _ in 0..3 {
        ask("system.echo", &json!({}), "system.echo");
        ask("fixture.echo_async", &json!({}), "fixture.echo_async");
        ask("sleep.async", &json!({ "ms": 2 }), "sleep.async");
        ask("sleep.deaf", &Value::Null, "sleep.deaf");
        ask("vice.panic_async", &Value::Null, "vice.panic_async");
        ask("counts.blocking", &json!({ "ms": 1 }), "counts.blocking");
        ask("counts.blocking", &json!({ "ms": 1 }), "counts.blocking");
        ask("no.such", &Value::Null, UNKNOWN);
    }
    client.send(&bytes, &asked.values().cloned().collect::<Vec<_>>());
    while !asked.is_empty() {
        let frame = client.peer.receive();
        let asked = asked.remove(&frame.id().unwrap()).expect("one reply each");
        client.wrote(&frame, asked);
    }
}

#[test]
fn a_scrape_is_equal_to_the_ledger() {
    let host = super::host(&PLUGINS, CONFIG);
    let (keeper, address, stop) = (Keeper::default(), address(&host), AtomicBool::new(false));
    let rounds: [AtomicU64; 5] = Default::default();
    std::thread::scope(|scope| {
        let stops = Stops(&stop);
        for (round, work) in rounds.iter().zip([sync_round, sync_round, async_round, async_round]) {
            let (host, keeper, stop) = (&host, &keeper, &stop);
            scope.spawn(move || {
                let mut client = keeper.client(host);
                while !stop.load(SeqCst) {
                    work(&mut client, round.fetch_add(1, SeqCst));
                }
            });
        }
        scope.spawn(|| {
            let mut operator = keeper.client_of(&host, "run/jackfield-admin.sock");
            while !stop.load(SeqCst) {
                let params = json!({ "name": "echoes" });
                call(&mut operator, "admin.plugin.reload", &params, "admin.plugin.reload");
                vanish(&host, &keeper, &address);
                rounds[4].fetch_add(1, SeqCst);
            }
        });
        let mut last = Scrape::default();
        let mut scrapes = 0;
        while scrapes < SCRAPES || rounds.iter().any(|round| round.load(SeqCst) < 5) {
            let before = keeper.now();
            let scrape = Scrape::of(&address);
            check(&before, &scrape, &keeper.now()).unwrap();
            never_back(&last, &scrape).unwrap();
            last = scrape;
            scrapes += 1;
            std::thread::sleep(PAUSE);
        }
        drop(stops);
    });
    settle(&address, &keeper);
    let scrape = Scrape::of(&address);
    let reloads = [("plugin", "echoes"), ("outcome", "loaded")];
    let generation = scrape.value("ipc_plugin_generation", &[("plugin", "echoes")]);
    assert!(scrape.value("ipc_plugin_reloads_total", &reloads) >= 5 && generation > 5);
    assert_eq!(scrape.value("ipc_rejected_total", &[("reason", "connections")]), 0);
    let books = keeper.now();
    let overloaded = books.ended[&(later("counts.blocking"), "overloaded".to_owned())];
    assert_eq!(scrape.value("ipc_rejected_total", &[("reason", "route")]), overloaded);
    let not_found = ["sync", "async"]
        .map(|kind| books.ended[&((kind, UNKNOWN.to_owned()), "method_not_found".to_owned())]);
    let counted = scrape.value("ipc_rejected_total", &[("reason", "method_not_found")]);
    assert_eq!(counted, not_found.iter().sum::<u64>());
    the_check_can_fail(&scrape, &keeper);
}

/// Stops the clients, also when the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// A client with requests in flight goes.
fn vanish(host: &HostProcess, keeper: &Keeper, address: &str) {
    let asked = vec![later("counts.async"); 3];
    let mut client = keeper.client(host);
    let one = |id| frame(V1_1, ASYNC_REQUEST, envelope_with(id, "counts.async", &json!({ "ms": 20_000 })));
    client.send(&["a", "b", "c"].map(one).concat(), &asked);
    let labels = [("kind", "async"), ("method", "counts.async")];
    wait_until("they are in flight", || Scrape::of(address).value("ipc_requests_in_flight", &labels) == 3);
    client.abandon(&asked);
    wait_until("they are given up", || Scrape::of(address).value("ipc_requests_in_flight", &labels) == 0);
}

/// Waits until the scrape is what the books say.
#[track_caller]
fn settle(address: &str, keeper: &Keeper) {
    let mut why = String::new();
    let is_equal = || {
        let equal = equal(&Scrape::of(address), &keeper.now());
        equal.map_err(|fault| why = fault).is_ok()
    };
    let equal = crate::support::wait::poll_within(crate::support::CEILING, {
        let mut is_equal = is_equal;
        move || is_equal().then_some(())
    });
    assert!(equal.is_some(), "{why}");
}

/// One thing too many or too few in the books or on the page is seen.
fn the_check_can_fail(scrape: &Scrape, keeper: &Keeper) {
    let right = keeper.now();
    assert_eq!(equal(scrape, &right), Ok(()));
    let mut lost = right.clone();
    *lost.sent.get_mut(&sync("system.echo")).unwrap() += 1;
    assert!(equal(scrape, &lost).is_err(), "a request that was not accepted");
    let mut unsent = right.clone();
    *unsent.sent.get_mut(&later("sleep.deaf")).unwrap() -= 1;
    assert!(check(&right, scrape, &unsent).is_err(), "one that was accepted and not sent");
    let mut more = right.clone();
    *more.ended.get_mut(&(sync("system.echo"), "ok".to_owned())).unwrap() += 1;
    assert!(check(&more, scrape, &right).is_err(), "a reply that is not counted");
    let mut other = right.clone();
    let late = other.ended.remove(&(later("sleep.deaf"), "deadline_exceeded".to_owned())).unwrap();
    other.ended.insert((later("sleep.deaf"), "ok".to_owned()), late);
    assert!(equal(scrape, &other).is_err(), "another outcome");
    let (labels, _) = scrape.all("ipc_requests_accepted_total").next().unwrap();
    for name in
        ["ipc_requests_accepted_total", "ipc_requests_in_flight", "ipc_async_pending", "ipc_in_flight"]
    {
        let labels = if name.starts_with("ipc_requests") { labels.clone() } else { Default::default() };
        let page = scrape.with_one_more(name, &labels);
        assert!(check(&right, &page, &right).is_err(), "one more of {name}");
        assert!(!name.ends_with("_total") || never_back(&page, scrape).is_err());
    }
}

#[test]
fn pending_and_timed_out_async_requests_are_counted_exactly() {
    let host = super::host(&["sleeps", "counts"], CONFIG);
    let (keeper, address) = (Keeper::default(), address(&host));
    let ask = |client: &mut Client, id: &str, method: &str, params: &Value| {
        client.send(&frame(V1_1, ASYNC_REQUEST, envelope_with(id, method, params)), &[later(method)]);
    };
    let values = || {
        let scrape = Scrape::of(&address);
        ["ipc_async_pending", "ipc_in_flight", "ipc_async_timeout_total"].map(|name| scrape.value(name, &[]))
    };
    // A sync one is in flight and not pending.
    let mut held = keeper.client(&host);
    held.send(&frame(V1_0, SYNC, envelope("counts.held", &Value::Null)), &[sync("counts.held")]);
    let mut waiting: Vec<Client> = Vec::new();
    for round in 1..=3 {
        let mut client = keeper.client(&host);
        for number in 0..7 {
            ask(&mut client, &format!("waits-{number}"), "counts.async", &json!({ "ms": 600_000 }));
        }
        waiting.push(client);
        let mut client = keeper.client(&host);
        for number in 0..5 {
            ask(&mut client, &format!("late-{number}"), "sleep.deaf", &Value::Null);
        }
        for _ in 0..5 {
            client.receive(Some(later("sleep.deaf")));
        }
        wait_until("all but the late ones are pending", || values() == [7 * round, 7 * round + 1, 5 * round]);
        let scrape = Scrape::of(&address);
        check(&keeper.now(), &scrape, &keeper.now()).unwrap();
        let pending = [("kind", "async"), ("method", "counts.async")];
        assert_eq!(scrape.value("ipc_requests_in_flight", &pending), 7 * round);
    }
    waiting.into_iter().for_each(|client| client.abandon(&vec![later("counts.async"); 7]));
    let mut other = keeper.client(&host);
    call(&mut other, "counts.release", &Value::Null, "counts.release");
    held.receive(Some(sync("counts.held")));
    settle(&address, &keeper);
    assert_eq!(values(), [0, 0, 15]);
}
