//! A scrape equals the counts of the clients: within bounds while mixed load runs and plugins are
//! reloaded, and exactly afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};

use super::request_counts::{CountingClient, Request, SharedCounts, check, check_equal, check_monotonic};
use crate::support::background::SetOnDrop;
use crate::support::http::address;
use crate::support::peer::{ASYNC_REQUEST, SYNC, V1_0, V1_1, envelope, envelope_with, frame};
use crate::support::scrape::Scrape;
use crate::support::{HostProcess, wait_until};

/// Minimum number of scrapes while the load runs.
const SCRAPES: u64 = 12;

/// Time between two scrapes.
const PAUSE: Duration = Duration::from_millis(200);

const PLUGINS: [&str; 5] = ["echoes", "counts", "sleeps", "errors", "panics"];

/// Most calls fail in this test, so breakers and probation are off.
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
    method = "sleep.forever"
    plugin = "sleeps"
    timeout = "30ms"
    [[route]]
    method = "counts.blocking"
    plugin = "counts"
    max_in_flight = 2
"#;

const UNKNOWN: &str = "(unknown)";

fn sync_request(method: &str) -> Request {
    ("sync", method.to_owned())
}

fn async_request(method: &str) -> Request {
    ("async", method.to_owned())
}

/// Sends one sync request, which is counted under the method `counted`.
fn call(client: &mut CountingClient, method: &str, params: &Value, counted: &str) {
    client.send(&frame(V1_0, SYNC, envelope(method, params)), &[sync_request(counted)]);
    client.receive(Some(sync_request(counted)));
}

/// Sends sync requests with each outcome.
fn sync_round(client: &mut CountingClient, round: u64) {
    call(client, "system.echo", &json!([round]), "system.echo");
    call(client, "fixture.echo_blocking", &json!("x"), "fixture.echo_blocking");
    call(client, "errors.fail", &json!({ "code": 7, "message": "m" }), "errors.fail");
    call(client, "errors.fail", &json!([]), "errors.fail");
    call(client, &format!("no.such.m{round}"), &Value::Null, UNKNOWN);
    call(client, "panics.panic", &Value::Null, "panics.panic");
    client.send(&frame(V1_0, SYNC, "{"), &[sync_request(UNKNOWN)]);
    client.receive(Some(sync_request(UNKNOWN)));
    client.send(&frame(V1_0, 2, ""), &[]);
    client.receive(None);
}

/// Sends async requests with each outcome, all in one write.
fn async_round(client: &mut CountingClient, round: u64) {
    let mut requests = BTreeMap::new();
    let mut bytes = Vec::new();

    let mut send = |method: &str, params: &Value, counted: &str| {
        let id = format!("{round}-{}", requests.len());
        bytes.extend(frame(V1_1, ASYNC_REQUEST, envelope_with(&id, method, params)));
        requests.insert(id, async_request(counted));
    };

    for _ in 0..3 {
        send("system.echo", &json!({}), "system.echo");
        send("fixture.echo_async", &json!({}), "fixture.echo_async");
        send("sleep.async", &json!({ "ms": 2 }), "sleep.async");
        send("sleep.forever", &Value::Null, "sleep.forever");
        send("panics.panic_async", &Value::Null, "panics.panic_async");
        send("counts.blocking", &json!({ "ms": 1 }), "counts.blocking");
        send("counts.blocking", &json!({ "ms": 1 }), "counts.blocking");
        send("no.such", &Value::Null, UNKNOWN);
    }

    client.send(&bytes, &requests.values().cloned().collect::<Vec<_>>());
    while !requests.is_empty() {
        let frame = client.peer.receive();
        let request = requests.remove(&frame.id().unwrap()).expect("one reply each");
        client.record_reply(&frame, request);
    }
}

#[test]
fn equals_the_counts_of_the_clients_under_load() {
    let host = super::host(&PLUGINS, CONFIG);
    let (counts, address, is_over) = (SharedCounts::default(), address(&host), AtomicBool::new(false));

    let rounds: [AtomicU64; 5] = Default::default();
    std::thread::scope(|scope| {
        let end = SetOnDrop(&is_over);
        for (round, work) in rounds.iter().zip([sync_round, sync_round, async_round, async_round]) {
            let (host, counts, is_over) = (&host, &counts, &is_over);
            scope.spawn(move || {
                let mut client = counts.client(host);
                while !is_over.load(SeqCst) {
                    work(&mut client, round.fetch_add(1, SeqCst));
                }
            });
        }

        scope.spawn(|| {
            let mut operator = counts.client_at(&host, "run/jackfield-admin.sock");
            while !is_over.load(SeqCst) {
                let params = json!({ "name": "echoes" });
                call(&mut operator, "admin.plugin.reload", &params, "admin.plugin.reload");
                disconnect(&host, &counts, &address);
                rounds[4].fetch_add(1, SeqCst);
            }
        });

        let mut last = Scrape::default();
        let mut scrapes = 0;
        while scrapes < SCRAPES || rounds.iter().any(|round| round.load(SeqCst) < 5) {
            let before = counts.now();
            let scrape = Scrape::of(&address);
            check(&before, &scrape, &counts.now()).unwrap();
            check_monotonic(&last, &scrape).unwrap();
            last = scrape;
            scrapes += 1;
            std::thread::sleep(PAUSE);
        }
        drop(end);
    });

    settle(&address, &counts);
    let scrape = Scrape::of(&address);

    let reloads = [("plugin", "echoes"), ("outcome", "loaded")];
    let generation = scrape.value("ipc_plugin_generation", &[("plugin", "echoes")]);
    assert!(scrape.value("ipc_plugin_reloads_total", &reloads) >= 5 && generation > 5);
    assert_eq!(scrape.value("ipc_rejected_total", &[("reason", "connections")]), 0);
    let final_counts = counts.now();

    let overloaded = final_counts.answered[&(async_request("counts.blocking"), "overloaded".to_owned())];
    assert_eq!(scrape.value("ipc_rejected_total", &[("reason", "route")]), overloaded);
    let not_found = ["sync", "async"]
        .map(|kind| final_counts.answered[&((kind, UNKNOWN.to_owned()), "method_not_found".to_owned())]);
    let counted = scrape.value("ipc_rejected_total", &[("reason", "method_not_found")]);
    assert_eq!(counted, not_found.iter().sum::<u64>());

    assert_check_detects_differences(&scrape, &counts);
}

/// Disconnects a client with requests in flight.
fn disconnect(host: &HostProcess, counts: &SharedCounts, address: &str) {
    let requests = vec![async_request("counts.async"); 3];

    let mut client = counts.client(host);
    let one = |id| frame(V1_1, ASYNC_REQUEST, envelope_with(id, "counts.async", &json!({ "ms": 20_000 })));
    client.send(&["a", "b", "c"].map(one).concat(), &requests);

    let labels = [("kind", "async"), ("method", "counts.async")];
    wait_until("the requests are in flight", || {
        Scrape::of(address).value("ipc_requests_in_flight", &labels) == 3
    });
    client.abandon(&requests);
    wait_until("the requests are abandoned", || {
        Scrape::of(address).value("ipc_requests_in_flight", &labels) == 0
    });
}

/// Waits until a scrape equals the counts.
#[track_caller]
fn settle(address: &str, counts: &SharedCounts) {
    let mut why = String::new();
    let is_equal = || {
        let check_equal = check_equal(&Scrape::of(address), &counts.now());
        check_equal.map_err(|fault| why = fault).is_ok()
    };
    let check_equal = crate::support::wait::poll_within(crate::support::CEILING, {
        let mut is_equal = is_equal;
        move || is_equal().then_some(())
    });
    assert!(check_equal.is_some(), "{why}");
}

/// Asserts that the check detects a single difference in the counts or in the scrape.
fn assert_check_detects_differences(scrape: &Scrape, counts: &SharedCounts) {
    let counts_now = counts.now();
    assert_eq!(check_equal(scrape, &counts_now), Ok(()));

    let mut lost = counts_now.clone();
    *lost.sent.get_mut(&sync_request("system.echo")).unwrap() += 1;
    assert!(check_equal(scrape, &lost).is_err(), "a request that was not accepted");

    let mut unsent = counts_now.clone();
    *unsent.sent.get_mut(&async_request("sleep.forever")).unwrap() -= 1;
    assert!(check(&counts_now, scrape, &unsent).is_err(), "a request that was accepted and not sent");

    let mut more = counts_now.clone();
    *more.answered.get_mut(&(sync_request("system.echo"), "ok".to_owned())).unwrap() += 1;
    assert!(check(&more, scrape, &counts_now).is_err(), "a reply that is not counted");

    let mut other = counts_now.clone();
    let late =
        other.answered.remove(&(async_request("sleep.forever"), "deadline_exceeded".to_owned())).unwrap();
    other.answered.insert((async_request("sleep.forever"), "ok".to_owned()), late);
    assert!(check_equal(scrape, &other).is_err(), "another outcome");

    let (labels, _) = scrape.all("ipc_requests_accepted_total").next().unwrap();
    for name in
        ["ipc_requests_accepted_total", "ipc_requests_in_flight", "ipc_async_pending", "ipc_in_flight"]
    {
        let labels = if name.starts_with("ipc_requests") { labels.clone() } else { Default::default() };
        let page = scrape.with_one_more(name, &labels);
        assert!(check(&counts_now, &page, &counts_now).is_err(), "one more of {name}");
        assert!(!name.ends_with("_total") || check_monotonic(&page, scrape).is_err());
    }
}

#[test]
fn counts_pending_and_timed_out_async_requests_exactly() {
    let host = super::host(&["sleeps", "counts"], CONFIG);
    let (counts, address) = (SharedCounts::default(), address(&host));

    let send = |client: &mut CountingClient, id: &str, method: &str, params: &Value| {
        client.send(&frame(V1_1, ASYNC_REQUEST, envelope_with(id, method, params)), &[async_request(method)]);
    };

    let values = || {
        let scrape = Scrape::of(&address);
        ["ipc_async_pending", "ipc_in_flight", "ipc_async_timeout_total"].map(|name| scrape.value(name, &[]))
    };

    // A sync request is in flight, but not pending.
    let mut held = counts.client(&host);
    held.send(&frame(V1_0, SYNC, envelope("counts.held", &Value::Null)), &[sync_request("counts.held")]);
    let mut waiting: Vec<CountingClient> = Vec::new();

    for round in 1..=3 {
        let mut client = counts.client(&host);
        for number in 0..7 {
            send(&mut client, &format!("waits-{number}"), "counts.async", &json!({ "ms": 600_000 }));
        }
        waiting.push(client);

        let mut client = counts.client(&host);
        for number in 0..5 {
            send(&mut client, &format!("late-{number}"), "sleep.forever", &Value::Null);
        }

        for _ in 0..5 {
            client.receive(Some(async_request("sleep.forever")));
        }

        wait_until("all requests but the late ones are pending", || {
            values() == [7 * round, 7 * round + 1, 5 * round]
        });
        let scrape = Scrape::of(&address);
        check(&counts.now(), &scrape, &counts.now()).unwrap();
        let pending = [("kind", "async"), ("method", "counts.async")];
        assert_eq!(scrape.value("ipc_requests_in_flight", &pending), 7 * round);
    }

    waiting.into_iter().for_each(|client| client.abandon(&vec![async_request("counts.async"); 7]));
    let mut other = counts.client(&host);
    call(&mut other, "counts.release", &Value::Null, "counts.release");

    held.receive(Some(sync_request("counts.held")));
    settle(&address, &counts);
    assert_eq!(values(), [0, 0, 15]);
}
