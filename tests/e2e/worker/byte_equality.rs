//! The same requests to two hosts, one with all plugins in itself and one with all in workers: the
//! replies are equal byte by byte.

use std::collections::BTreeMap;

use super::deterministic_methods::{Deterministic, METHODS, PLUGINS};
use super::in_worker;
use super::random_params::params;
use crate::support::peer::{ASYNC_REQUEST, SYNC, V1_1};
use crate::support::random::SeededRandom;
use crate::support::{Frame, HostProcess, Peer, is_soak};

/// Requests for each method, in a normal run and in a soak run.
const REQUESTS: usize = 500;
const SOAK_REQUESTS: usize = 10_000;

/// Requests that are sent together, and the bytes after which no further one is sent: a host does
/// not read from a client while it has many replies for it.
const BATCH: usize = 48;
const BATCH_BYTES: usize = 64 << 10;

/// Differences that are shown.
const SHOWN: usize = 5;

/// One request, and the two replies to it.
struct Difference {
    request: String,
    replies: [String; 2],
}

/// The replies of one method.
#[derive(Default)]
struct Tally {
    requests: usize,
    results: usize,
    bytes: usize,
    differences: Vec<Difference>,
}

/// Starts a host with the plugins. A plugin has one thread, so that its calls run in order.
fn start(is_in_worker: bool) -> HostProcess {
    let mut builder = HostProcess::builder().config(
        "[plugins]\nwatch = false\n[plugin.journal.settings]\ndirectory = \"run/journal\"\n\
        [plugin.services.settings]\ntext = \"a\"\n[plugin.device.settings]\ndevices = 200",
    );
    for plugin in PLUGINS {
        builder = builder.plugin(plugin);
        let keys = "threads = 1\nqueue = 64";
        builder = builder.config(&if is_in_worker {
            in_worker(plugin, keys, "")
        } else {
            format!("[plugin.{plugin}]\nbreaker = {{ failures = 0 }}\n{keys}\n")
        });
    }
    builder.start()
}

fn envelope(id: usize, method: &str, params: Option<&str>) -> String {
    let params = params.map(|params| format!(",\"params\":{params}")).unwrap_or_default();
    format!("{{\"id\":\"{id}\",\"method\":\"{method}\"{params}}}")
}

/// Replaces the numbers of a member by 0. Strings cannot contain the member, because their quotes
/// are escaped.
fn without_time(text: &[u8], member: Option<&str>) -> Vec<u8> {
    let (Some(member), Ok(text)) = (member, std::str::from_utf8(text)) else { return text.to_vec() };
    let mark = format!("\"{member}\":");
    let mut parts = text.split(&mark);
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        all.push_str(&mark);
        all.push('0');
        all.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    all.into_bytes()
}

/// Returns the id of a reply and the text after it. A reply can contain a surrogate without its
/// pair, which the parser of this test refuses.
#[track_caller]
fn parts(reply: &Frame) -> (&str, &str) {
    let after_mark = reply.text().strip_prefix("{\"id\":\"").and_then(|text| text.split_once('"'));
    after_mark.unwrap_or_else(|| panic!("each reply has an id: {reply:?}"))
}

/// Returns the replies to a batch by id.
fn replies(peer: &mut Peer, count: usize, method: &Deterministic) -> BTreeMap<String, Frame> {
    let replies = peer.receive_all(count).into_iter().map(|mut reply| {
        let id = parts(&reply).0.to_owned();
        reply.payload = without_time(&reply.payload, method.time);
        (id, reply)
    });
    replies.collect()
}

/// Sends random requests for a method to both hosts and compares the replies.
fn compare(hosts: &mut [Peer; 2], method: &Deterministic, requests: usize, seed: u64) -> Tally {
    let mut random = SeededRandom::new(seed);
    let mut tally = Tally::default();

    while tally.requests < requests {
        // Sync requests run one after another and are answered in another way.
        let kind = if random.below(8) == 0 { SYNC } else { ASYNC_REQUEST };
        let mut batch: BTreeMap<String, String> = BTreeMap::new();
        let mut bytes = 0;
        while batch.len() < BATCH.min(requests - tally.requests) && bytes < BATCH_BYTES {
            let template = random.one_of(method.templates);
            let id = tally.requests + batch.len();
            let request = envelope(id, method.method, params(&mut random, template).as_deref());
            bytes += request.len();
            hosts.iter_mut().for_each(|host| host.send_frame(V1_1, kind, &request));
            batch.insert(id.to_string(), request);
        }

        let [in_process, in_worker] = hosts.each_mut().map(|host| replies(host, batch.len(), method));
        tally.requests += batch.len();
        tally.bytes += bytes;
        for (id, request) in batch {
            let (first, second) = (&in_process[&id], &in_worker[&id]);
            tally.results += usize::from(parts(first).1.starts_with(",\"result\""));
            if first != second {
                let replies = [first, second].map(|reply| format!("{reply:?}"));
                tally.differences.push(Difference { request, replies });
            }
        }
    }
    tally
}

/// Compares two hosts in all methods, and returns the number of requests that were compared.
#[track_caller]
fn assert_equal(hosts: [&HostProcess; 2], requests: usize) -> usize {
    let mut peers = hosts.map(HostProcess::peer);
    let (mut compared, mut results, mut bytes, mut failures) = (0, 0, 0, Vec::new());

    for (seed, method) in (1..).zip(&METHODS) {
        let tally = compare(&mut peers, method, requests.div_ceil(method.share), seed);
        compared += tally.requests;
        results += tally.results;
        bytes += tally.bytes;
        if is_soak() {
            println!("{}: {} requests, {} results", method.method, tally.requests, tally.results);
        }
        if !tally.differences.is_empty() {
            failures.push(format!("{}: {} of {}", method.method, tally.differences.len(), tally.requests));
        }
        for Difference { request, replies } in tally.differences.iter().take(SHOWN) {
            let request: String = request.chars().take(300).collect();
            eprintln!("{request}\n  in the host: {}\n  in a worker: {}", replies[0], replies[1]);
        }
    }

    let methods = METHODS.len();
    println!(
        "{compared} requests of {bytes} bytes for {methods} methods: {results} results, the others errors"
    );
    assert!(failures.is_empty(), "replies that differ: {failures:#?}");
    compared
}

#[test]
fn replies_of_workers_equal_those_of_the_host() {
    let hosts = [start(false), start(true)];
    assert_equal([&hosts[0], &hosts[1]], if is_soak() { SOAK_REQUESTS } else { REQUESTS });
}

#[test]
fn the_comparison_finds_differences_and_no_others() {
    let hosts = [start(false), start(false)];
    assert_equal([&hosts[0], &hosts[1]], 40);

    // One more call of one host has counted.
    hosts[1].peer().result("counter.add", &serde_json::Value::Null);
    let counter = METHODS.iter().find(|method| method.method == "counter.get").expect("it is compared");
    let mut peers = hosts.each_ref().map(HostProcess::peer);
    assert_eq!(compare(&mut peers, counter, 10, 1).differences.len(), 10);

    assert_eq!(
        without_time(b"{\"at\":12,\"a\":\"\\\"at\\\":3\"}", Some("at")),
        b"{\"at\":0,\"a\":\"\\\"at\\\":3\"}"
    );
}
