//! The last requests of a generation: each is answered by the code that took it, however many
//! generations have come since; there may not be too many at once; and signals in the middle of it
//! do what they always do.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, in_plugins, number, wait_until_number, with_first, with_image};
use crate::support::accounting::ReplyAccounting;
use crate::support::wait_until;

/// How many generations of one plugin may drain at once.
const MOST: u32 = 8;

#[test]
fn a_request_that_runs_across_a_reload_is_answered_by_the_code_that_took_it() {
    let host = with_first("[plugins]\nwatch = false");
    let mut operator = Operator::of(&host);
    let mut peer = host.peer();
    let latch = host.latch("old");
    peer.send_async("slow", "numbered.slow_until", &latch.params());
    peer.send_async("later", "numbered.later_until", &latch.params());
    peer.send_sync("numbered.slow_until", &latch.params());
    wait_until("they are in flight", || host.count("in_flight") == 3);
    Image::numbered(2).put(&host, FILE);
    operator.published();
    assert_eq!(number(&mut host.peer()), 2);
    assert_eq!(operator.row(NAME)["draining"].as_array().map(Vec::len), Some(1));
    latch.open();
    for _ in 0..3 {
        assert_eq!(peer.receive().result(), 1);
    }
    let answered = Instant::now();
    operator.wait_until_unloaded();
    // 100 ms is what is promised of the drain itself; a machine that does other things may be late.
    assert!(answered.elapsed() < Duration::from_secs(2), "{:?}", answered.elapsed());
    assert_eq!(number(&mut peer), 2, "the same connection goes on with the new code");
}

#[test]
fn each_of_many_generations_answers_its_own_and_one_too_many_waits_for_its_turn() {
    let config = "[plugin.subject]\nthreads = 16\n[timeouts]\nrequest = \"2m\"";
    let host = with_first(config);
    let mut operator = Operator::of(&host);
    let mut peer = host.peer();
    let mut accounting = ReplyAccounting::default();
    let (mut asked, latch) = (0, host.latch("all"));
    for version in 1..=MOST {
        for call in 0..12 {
            let id = format!("{version}-{call}");
            accounting.record_request(&id);
            peer.send_async(&id, "numbered.later_until", &latch.params());
            asked += 1;
        }
        wait_until("they are in flight", || host.count("in_flight") == asked);
        Image::numbered(version + 1).put(&host, FILE);
        wait_until_number(&host, (version + 1).into());
    }
    let row = operator.row(NAME);
    assert_eq!(row["draining"].as_array().map(Vec::len), Some(MOST as usize), "{row}");
    Image::numbered(99).put(&host, FILE);
    let refused = operator.wait_until("one more is refused", |row| row["refused"].is_object());
    assert_eq!(refused["refused"]["reason"], "too-many-draining", "{refused}");
    assert_eq!(operator.refused("too-many-draining")["generation"], refused["generation"]);
    assert_eq!(number(&mut host.peer()), u64::from(MOST + 1), "what served serves on");
    latch.open();
    for _ in 0..asked {
        let frame = peer.receive();
        let id = frame.id().expect("an id");
        assert_eq!(Some(frame.result().to_string().as_str()), id.split('-').next(), "{frame:?}");
        accounting.record_reply(&frame);
    }
    accounting.check().expect("each is answered once");
    // Nobody has to say so once more.
    wait_until_number(&host, 99);
    assert_eq!(operator.wait_until_unloaded()["refused"], Value::Null);
}

#[test]
fn signals_during_a_reload_do_what_they_always_do() {
    for round in 0..12_u32 {
        let mut host = with_first("");
        let mut peer = host.peer();
        assert_eq!(number(&mut peer), 1);
        peer.send_async("last", "numbered.slow", &json!(300));
        wait_until("it is in flight", || host.count("in_flight") == 1);
        Image::numbered(2).put(&host, FILE);
        // At another moment of the reload each time.
        let end = Instant::now() + Duration::from_millis(u64::from(round) * 10);
        while Instant::now() < end {
            for signal in [Signal::HUP, Signal::PIPE, Signal::HUP] {
                host.signal(signal);
            }
            std::thread::yield_now();
        }
        let signal = if round % 2 == 0 { Signal::TERM } else { Signal::INT };
        host.signal(signal);
        host.signal(Signal::HUP);
        let frames = peer.receive_until_close();
        let [reply] = &frames[..] else { panic!("one reply, not {frames:?}") };
        assert_eq!(reply.result(), 1, "{reply:?}");
        assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    }
}

#[test]
fn the_end_waits_for_the_threads_that_ran_the_code() {
    // Its methods leave on the I/O threads what is dropped at those threads' end, by code that must
    // still be there.
    for round in 0..6 {
        let image = Image::of("uses_threads");
        let mut host = with_image(&image, "[plugins]\nwatch = false");
        let mut operator = Operator::of(&host);
        let mut peers: Vec<_> = (0..4).map(|_| host.peer()).collect();
        for peer in &mut peers {
            assert_eq!(peer.result("threads.inline", &Value::Null).as_u64().map(|seen| seen > 0), Some(true));
        }
        if round % 2 == 0 {
            fs::remove_file(in_plugins(&host, FILE)).expect("the plugin is there");
            host.signal(Signal::HUP);
        } else {
            operator.published();
        }
        host.signal(Signal::TERM);
        assert_eq!(host.wait().code(), Some(0), "round {round}: {}", host.log());
    }
}

#[test]
fn an_inline_method_that_does_not_end_does_not_keep_the_host() {
    let mut host = with_image(&Image::of("counter_v1"), "[timeouts]\ndrain = \"200ms\"");
    let mut peer = host.peer();
    peer.assert_usable();
    peer.send_async("endless", "counter.add_and_hold_up", &json!(600_000));
    // A connection that nobody answers any more is on its thread: one of as many as there are
    // threads and one more.
    let mut others: Vec<_> = (0..2).map(|_| host.peer()).collect();
    wait_until("it holds up a thread", || {
        others.iter_mut().any(|other| {
            other.heartbeat();
            matches!(other.receive_within(Duration::from_secs(2)), Ok(None))
        })
    });
    host.signal(Signal::TERM);
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert!(host.log_contains("held up by inline methods"), "{}", host.log());
}

#[test]
fn a_signal_does_not_wait_for_a_configuration_that_takes_its_time() {
    let config = "[plugins]\nprobe = \"5s\"\n";
    let mut host = with_first(config);
    let hanging = format!("{config}[plugin.subject.settings]\nhang = true\n");
    fs::write(host.path("config.toml"), hanging).expect("the configuration is written");
    wait_until("the probe hangs", || has_child(host.pid()));
    host.signal(Signal::TERM);
    host.wait_for_log("draining");
    assert!(!host.log_contains("probe-timed-out"), "it was heard before the probe's end: {}", host.log());
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
}

fn has_child(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children.any(|children| !children.trim().is_empty())
}
