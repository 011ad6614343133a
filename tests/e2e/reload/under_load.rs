//! Reloads under load: no request is lost, answered twice, or answered by a version that is older
//! than the one that was acknowledged before the request was sent.
//!
//! `JACKFIELD_TEST_REQUESTS` sets the number of requests. The default is 200,000, and ten times as
//! many in `make soak`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use super::traffic::{Traffic, quantile};
use super::{FILE, Image, Operator, wait_until_number, with_first};
use crate::support::{CEILING, is_soak, wait_until};

/// Default number of requests.
const REQUESTS: u64 = 200_000;
/// Interval between two reloads.
const RELOAD_INTERVAL: Duration = Duration::from_millis(100);
/// Number of sync clients, and also of async clients.
const CLIENTS: usize = 3;

fn requests() -> u64 {
    let given = std::env::var("JACKFIELD_TEST_REQUESTS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(if is_soak() { 10 * REQUESTS } else { REQUESTS })
}

#[test]
fn loses_no_request_during_reloads() {
    let host = with_first("[plugins]\nwatch = false");
    let mut operator = Operator::connect(&host);
    let traffic = Traffic::start(&host, CLIENTS, 1);
    let shared = std::sync::Arc::clone(&traffic.shared);
    let all = requests();

    // A quarter of the requests run without reloads, for comparison.
    while shared.answered.load(Ordering::Relaxed) < all / 4 {
        traffic.assert_alive();
        std::thread::sleep(RELOAD_INTERVAL);
    }

    shared.is_reloading.store(true, Ordering::SeqCst);
    let mut reloads = Vec::new();
    let mut version = 1;

    while shared.answered.load(Ordering::Relaxed) < all {
        traffic.assert_alive();
        let next = Instant::now() + RELOAD_INTERVAL;
        version += 1;

        shared.newest.store(version, Ordering::SeqCst);
        Image::numbered(u32::try_from(version).expect("the number of reloads fits 32 bits")).put(&host, FILE);
        let began = Instant::now();

        operator.reload_published();
        shared.acknowledged.store(version, Ordering::SeqCst);
        reloads.push(began.elapsed());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }

    let results = traffic.stop();
    assert!(results.requests >= all);

    let row = operator.wait_until_unloaded();
    assert_eq!(row["unloaded"], json!(version - 1), "{row}");

    reloads.sort_unstable();

    let mut latencies = results.latencies;
    latencies.iter_mut().for_each(|latencies| latencies.sort_unstable());

    eprintln!(
        "{} requests, {} reloads of {:?} (median), {:?} (worst); p50 {:?} without, {:?} with reloads; p99 {:?} and {:?}; \
         worst {:?} and {:?}",
        results.requests,
        reloads.len(),
        quantile(&reloads, 500),
        quantile(&reloads, 1000),
        quantile(&latencies[0], 500),
        quantile(&latencies[1], 500),
        quantile(&latencies[0], 990),
        quantile(&latencies[1], 990),
        quantile(&latencies[0], 1000),
        quantile(&latencies[1], 1000),
    );
}

#[test]
fn loses_no_request_while_files_are_replaced() {
    let host = with_first("");
    let mut operator = Operator::connect(&host);
    let traffic = Traffic::start(&host, CLIENTS, 1);
    let shared = std::sync::Arc::clone(&traffic.shared);
    let mut reloads = Vec::new();
    let mut peer = host.peer();

    for version in 2..=60_u32 {
        traffic.assert_alive();
        shared.newest.store(version.into(), Ordering::SeqCst);
        let image = Image::numbered(version);

        let began = Instant::now();
        image.put(&host, FILE);
        wait_until("the new code answers", || super::number(&mut peer) == u64::from(version));
        reloads.push(began.elapsed());

        // A reply of the new code does not show that the reload is complete. The plugin list does.
        operator.generation();
        shared.acknowledged.store(version.into(), Ordering::SeqCst);
    }

    traffic.stop();
    let row = operator.wait_until_unloaded();
    assert_eq!(row["unloaded"], 59, "{row}");

    reloads.sort_unstable();
    let (median, worst) = (quantile(&reloads, 500), quantile(&reloads, 1000));
    eprintln!(
        "from the rename to the first answer by new code, under load: {median:?} (median), {worst:?} (worst)"
    );
    assert!(worst < CEILING);
}

#[test]
fn measures_the_time_from_a_rename_to_the_first_reply() {
    let host = with_first("");
    let mut peer = host.peer();
    let mut reloads = Vec::new();

    for version in 2..=101_u32 {
        let image = Image::numbered(version);
        let began = Instant::now();
        image.put(&host, FILE);
        wait_until("the new code answers", || super::number(&mut peer) == u64::from(version));
        reloads.push(began.elapsed());
    }

    wait_until_number(&host, 101);
    reloads.sort_unstable();

    let (median, worst) = (quantile(&reloads, 500), quantile(&reloads, 1000));
    eprintln!(
        "from the rename to the first answer by new code: {median:?} (median), {worst:?} (worst of 100)"
    );
    assert!(worst < CEILING);
}
