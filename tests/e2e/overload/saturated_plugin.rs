//! A plugin with more work than it can do: excess requests are rejected at once, accepted ones are
//! as fast as before, and other plugins are not affected.
//!
//! The plugin sleeps instead of working, so that the plugin is the bottleneck and not the machine.
//! Ten times its load is 1,000 requests per second, which a busy machine can process, too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::background::BackgroundThread;
use crate::support::footprint::{assert_released_within, idle_footprint};
use crate::support::neighbour::{assert_neighbour_unaffected_by, p99};
use crate::support::peer::{ASYNC_REQUEST, OVERLOADED, V1_1, envelope_with, frame};
use crate::support::{HostProcess, Peer, wait_until};

/// Duration of one call, in milliseconds.
const CALL_MS: u64 = 20;
const THREADS: u64 = 2;
/// Calls per second that the plugin can process.
const CAPACITY: u64 = THREADS * 1000 / CALL_MS;
/// Duration of each load.
const LOAD_DURATION: Duration = Duration::from_millis(1500);

fn host() -> HostProcess {
    let config = format!("[plugin.sleeps]\nthreads = {THREADS}\nqueue = 40");
    HostProcess::builder().plugin("sleeps").plugin("echoes").config(&config).start()
}

/// The results of one load.
#[derive(Debug)]
struct Outcome {
    offered: usize,
    /// Results per second.
    answered: f64,
    refused: usize,
    served_p99: Duration,
    refused_p99: Option<Duration>,
}

/// Sends requests at a constant rate, independently of the replies, and waits for every reply.
fn offer(host: &HostProcess, per_second: u64) -> Outcome {
    let requests = per_second * u64::try_from(LOAD_DURATION.as_millis()).unwrap() / 1000;

    let peer = host.peer();
    let stream = peer.stream().try_clone().expect("the same socket");
    let (mut reader, mut accounting) = (peer, ReplyAccounting::default());
    (0..requests).for_each(|number| accounting.record_request(&number.to_string()));

    let begun = Instant::now();
    let due_at = |number: u64| {
        begun + LOAD_DURATION * u32::try_from(number).unwrap() / u32::try_from(requests).unwrap()
    };
    let (mut served, mut refused) = (Vec::new(), Vec::new());

    let mut last = begun;

    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..requests {
                thread::sleep(due_at(number).saturating_duration_since(Instant::now()));
                let request = envelope_with(&number.to_string(), "sleep.blocking", &json!({ "ms": CALL_MS }));
                std::io::Write::write_all(&mut &stream, &frame(V1_1, ASYNC_REQUEST, request))
                    .expect("the request is sent");
            }
        });

        for _ in 0..requests {
            let reply = reader.receive();
            let number: u64 = reply.id().expect("an id").parse().expect("a number");
            // The latency counts from the due time, because a client that is late waits as well.
            let took = due_at(number).elapsed();
            match reply.code() {
                None => {
                    served.push(took);
                    last = Instant::now();
                }
                Some(_) => {
                    let error = reply.error(OVERLOADED);
                    assert!(error["data"]["retry_after_ms"].as_u64() > Some(0), "{error}");
                    refused.push(took);
                }
            }
            accounting.record_reply(&reply);
        }
    });

    assert_eq!(accounting.check(), Ok(()));

    let answered = served.len() as f64 / (last - begun).as_secs_f64();
    let refused_p99 = (!refused.is_empty()).then(|| p99(refused.clone()));
    Outcome {
        offered: served.len() + refused.len(),
        answered,
        refused: refused.len(),
        served_p99: p99(served),
        refused_p99,
    }
}

#[test]
fn keeps_its_throughput_under_ten_times_its_capacity() {
    /// Fraction of the best throughput of all loads.
    const MIN_FRACTION: f64 = 0.9;
    const ROUNDS: usize = 8;
    let host = host();

    offer(&host, CAPACITY);
    let before = idle_footprint(host.pid());

    let (mut best, mut at_overload) = (0.0_f64, 0.0_f64);

    for _ in 0..ROUNDS {
        for halves in [1, 2, 4, 10, 20] {
            let outcome = offer(&host, CAPACITY * halves / 2);
            println!("{} times the capacity: {outcome:?}", halves as f64 / 2.0);
            best = best.max(outcome.answered);

            if halves >= 4 {
                assert!(outcome.refused > 0 && outcome.refused < outcome.offered, "{outcome:?}");
                // Rejections are faster than results.
                assert!(outcome.refused_p99 < Some(outcome.served_p99), "{outcome:?}");
            }
            if halves == 20 {
                at_overload = at_overload.max(outcome.answered);
            }
        }

        if at_overload >= MIN_FRACTION * best {
            break;
        }
    }
    assert!(
        at_overload >= MIN_FRACTION * best,
        "{at_overload:.0} per second at ten times the capacity, {best:.0} at best"
    );

    wait_until("nothing is in flight", || host.count("in_flight") == 0);
    assert_released_within(host.pid(), &before, 1024);
}

#[test]
fn recovers_after_an_overload() {
    let host = host();

    let call = |peer: &mut Peer| assert_eq!(peer.result("sleep.blocking", &json!({ "ms": 0 })), 0);
    assert_neighbour_unaffected_by(&host, "after ten times the capacity", call, || {
        let outcome = offer(&host, 10 * CAPACITY);
        assert!(outcome.refused > 0, "{outcome:?}");
        // The last reply ends the load: no request waits in a queue.
        assert_eq!(host.count("in_flight"), 0);
    });
}

/// Keeps the threads and the queue of a plugin full by sending a request for each reply.
fn saturate(mut peer: Peer, is_stopped: &AtomicBool) -> HashMap<Option<i64>, usize> {
    const IN_FLIGHT: usize = 60;
    let (mut outcomes, mut number) = (HashMap::new(), IN_FLIGHT);
    let send = |peer: &mut Peer, number: usize| {
        peer.send_async(&number.to_string(), "sleep.blocking", &json!({ "ms": 20 }));
    };

    (0..IN_FLIGHT).for_each(|number| send(&mut peer, number));
    let mut open = IN_FLIGHT;

    while open > 0 {
        let reply = peer.receive();
        open -= 1;
        *outcomes.entry(reply.code()).or_default() += 1;
        if !is_stopped.load(Ordering::Relaxed) {
            // A rejected client waits before it tries again, as the reply requests.
            if reply.code().is_some() {
                thread::sleep(Duration::from_millis(10));
            }
            send(&mut peer, number);
            (number, open) = (number + 1, open + 1);
        }
    }
    outcomes
}

#[test]
fn does_not_slow_other_plugins() {
    struct Saturating<'h> {
        work: BackgroundThread<HashMap<Option<i64>, usize>>,
        host: &'h HostProcess,
    }
    impl Drop for Saturating<'_> {
        fn drop(&mut self) {
            if !thread::panicking() {
                let outcomes = self.work.stop().expect("the work is stopped once");
                assert!(
                    outcomes[&Some(OVERLOADED)] > 0 && outcomes[&None] > 0,
                    "the plugin was saturated: {outcomes:?}"
                );
                assert_eq!(self.host.count("in_flight"), 0);
            }
        }
    }
    let host = host();

    let echo = |peer: &mut Peer| assert_eq!(peer.result("fixture.echo_blocking", &json!(7)), 7);
    assert_neighbour_unaffected_by(&host, "a saturated plugin", echo, || {
        let peer = host.peer();
        let work = BackgroundThread::start(move |is_stopped| saturate(peer, is_stopped));

        wait_until("the threads of the plugin are busy", || {
            host.peer().result("sleep.running", &Value::Null).as_u64() >= Some(THREADS)
        });

        Saturating { work, host: &host }
    });
}
