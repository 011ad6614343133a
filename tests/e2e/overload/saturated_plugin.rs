//! More work than a plugin can do: what cannot be taken is refused at once, what is taken is done
//! as fast as ever, and other plugins notice nothing.
//!
//! The plugin sleeps instead of working, so that it is the one to be short of, and not the machine:
//! ten times its load are a thousand requests a second, for which a busy machine has time as well.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::background::BackgroundThread;
use crate::support::footprint::{assert_settles_within, idle_footprint};
use crate::support::neighbour::{assert_neighbour_unaffected_by, p99};
use crate::support::peer::{ASYNC_REQUEST, OVERLOADED, V1_1, envelope_with, frame};
use crate::support::{HostProcess, Peer, wait_until};

/// Of one call, in milliseconds.
const TAKES: u64 = 20;
const THREADS: u64 = 2;
/// What the plugin can do in a second, if nothing but it takes time.
const CAPACITY: u64 = THREADS * 1000 / TAKES;
/// How long each load lasts.
const LENGTH: Duration = Duration::from_millis(1500);

fn host() -> HostProcess {
    let config = format!("[plugin.sleeps]\nthreads = {THREADS}\nqueue = 40");
    HostProcess::builder().plugin("sleeps").plugin("echoes").config(&config).start()
}

/// What came of one load.
#[derive(Debug)]
struct Outcome {
    offered: usize,
    /// Results in each second.
    answered: f64,
    refused: usize,
    served_p99: Duration,
    refused_p99: Option<Duration>,
}

/// Sends so many requests a second, evenly and whatever becomes of them, and waits for every
/// answer.
fn offer(host: &HostProcess, a_second: u64) -> Outcome {
    let requests = a_second * u64::try_from(LENGTH.as_millis()).unwrap() / 1000;
    let peer = host.peer();
    let stream = peer.stream().try_clone().expect("the same socket");
    let (mut reader, mut accounting) = (peer, ReplyAccounting::default());
    (0..requests).for_each(|number| accounting.record_request(&number.to_string()));
    let begun = Instant::now();
    let at = |number: u64| begun + LENGTH * u32::try_from(number).unwrap() / u32::try_from(requests).unwrap();
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    let mut last = begun;
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..requests {
                thread::sleep(at(number).saturating_duration_since(Instant::now()));
                let request = envelope_with(&number.to_string(), "sleep.blocking", &json!({ "ms": TAKES }));
                std::io::Write::write_all(&mut &stream, &frame(V1_1, ASYNC_REQUEST, request))
                    .expect("it is taken");
            }
        });
        for _ in 0..requests {
            let reply = reader.receive();
            let number: u64 = reply.id().expect("an id").parse().expect("a number");
            // From when it was to be sent: who is late with it waits as well.
            let took = at(number).elapsed();
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
fn at_ten_times_what_it_can_do_it_does_what_it_can() {
    /// Of the best of all loads.
    const LEAST: f64 = 0.9;
    const ROUNDS: usize = 8;
    let host = host();
    offer(&host, CAPACITY);
    let before = idle_footprint(host.pid());
    let (mut best, mut worst_hit) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        for halves in [1, 2, 4, 10, 20] {
            let outcome = offer(&host, CAPACITY * halves / 2);
            println!("{} times what it can do: {outcome:?}", halves as f64 / 2.0);
            best = best.max(outcome.answered);
            if halves >= 4 {
                assert!(outcome.refused > 0 && outcome.refused < outcome.offered, "{outcome:?}");
                // Who is refused is not made to wait for it as those are who were accepted.
                assert!(outcome.refused_p99 < Some(outcome.served_p99), "{outcome:?}");
            }
            if halves == 20 {
                worst_hit = worst_hit.max(outcome.answered);
            }
        }
        if worst_hit >= LEAST * best {
            break;
        }
    }
    assert!(worst_hit >= LEAST * best, "{worst_hit:.0} a second at ten times, {best:.0} at best");
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
    assert_settles_within(host.pid(), &before, 1024);
}

#[test]
fn after_an_overload_all_is_as_it_was() {
    let host = host();
    let call = |peer: &mut Peer| assert_eq!(peer.result("sleep.blocking", &json!({ "ms": 0 })), 0);
    assert_neighbour_unaffected_by(&host, "after ten times of what it can do", call, || {
        let outcome = offer(&host, 10 * CAPACITY);
        assert!(outcome.refused > 0, "{outcome:?}");
        // The last answer is the last of it: nothing waits in a queue.
        assert_eq!(host.count("in_flight"), 0);
    });
}

/// Keeps a plugin's threads and its queue full: for each answer, one more request.
fn saturate(mut peer: Peer, ended: &AtomicBool) -> HashMap<Option<i64>, usize> {
    const AT_ONCE: usize = 60;
    let (mut outcomes, mut number) = (HashMap::new(), AT_ONCE);
    let ask = |peer: &mut Peer, number: usize| {
        peer.send_async(&number.to_string(), "sleep.blocking", &json!({ "ms": 20 }));
    };
    (0..AT_ONCE).for_each(|number| ask(&mut peer, number));
    let mut open = AT_ONCE;
    while open > 0 {
        let reply = peer.receive();
        open -= 1;
        *outcomes.entry(reply.code()).or_default() += 1;
        if !ended.load(Ordering::Relaxed) {
            // Who is refused comes again later, as it was told.
            if reply.code().is_some() {
                thread::sleep(Duration::from_millis(10));
            }
            ask(&mut peer, number);
            (number, open) = (number + 1, open + 1);
        }
    }
    outcomes
}

#[test]
fn a_saturated_plugin_does_not_slow_another() {
    struct Saturating<'h> {
        work: BackgroundThread<HashMap<Option<i64>, usize>>,
        host: &'h HostProcess,
    }
    impl Drop for Saturating<'_> {
        fn drop(&mut self) {
            if !thread::panicking() {
                let outcomes = self.work.stop().expect("it ends once");
                assert!(
                    outcomes[&Some(OVERLOADED)] > 0 && outcomes[&None] > 0,
                    "it was saturated: {outcomes:?}"
                );
                assert_eq!(self.host.count("in_flight"), 0);
            }
        }
    }
    let host = host();
    let echo = |peer: &mut Peer| assert_eq!(peer.result("fixture.echo_blocking", &json!(7)), 7);
    assert_neighbour_unaffected_by(&host, "a saturated plugin", echo, || {
        let peer = host.peer();
        let work = BackgroundThread::start(move |ended| saturate(peer, ended));
        wait_until("its threads are busy", || {
            host.peer().result("sleep.running", &Value::Null).as_u64() >= Some(THREADS)
        });
        Saturating { work, host: &host }
    });
}
