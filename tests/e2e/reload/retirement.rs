//! The retirement of generations: their code answers the calls that it has accepted, their number
//! is limited, and signals during a reload work as usual.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, in_plugins, number, wait_until_number, with_first, with_image};
use crate::support::accounting::ReplyAccounting;
use crate::support::wait_until;

/// The limit of the host for draining generations of one plugin.
const MAX_DRAINING: u32 = 8;

#[test]
fn answers_each_request_with_the_code_that_accepted_it() {
    let host = with_first("[plugins]\nwatch = false");
    let mut operator = Operator::connect(&host);
    let mut peer = host.peer();

    let latch = host.latch("old");
    peer.send_async("slow", "numbered.slow_until", &latch.params());
    peer.send_async("later", "numbered.later_until", &latch.params());
    peer.send_sync("numbered.slow_until", &latch.params());
    wait_until("the requests are in flight", || host.count("in_flight") == 3);

    Image::numbered(2).put(&host, FILE);
    operator.reload_published();
    assert_eq!(number(&mut host.peer()), 2);
    assert_eq!(operator.row(NAME)["draining"].as_array().map(Vec::len), Some(1));

    latch.open();

    for _ in 0..3 {
        assert_eq!(peer.receive().result(), 1);
    }

    let answered = Instant::now();
    operator.wait_until_unloaded();
    // The specified time is 100 ms after the last reply, but a busy machine may take longer.
    assert!(answered.elapsed() < Duration::from_secs(2), "{:?}", answered.elapsed());

    assert_eq!(number(&mut peer), 2, "the connection continues with the new code");
}

#[test]
fn limits_the_number_of_draining_generations() {
    let config = "[plugin.subject]\nthreads = 16\n[timeouts]\nrequest = \"2m\"";
    let host = with_first(config);

    let mut operator = Operator::connect(&host);
    let mut peer = host.peer();
    let mut accounting = ReplyAccounting::default();
    let (mut sent, latch) = (0, host.latch("all"));

    for version in 1..=MAX_DRAINING {
        for call in 0..12 {
            let id = format!("{version}-{call}");
            accounting.record_request(&id);
            peer.send_async(&id, "numbered.later_until", &latch.params());
            sent += 1;
        }
        wait_until("the requests are in flight", || host.count("in_flight") == sent);
        Image::numbered(version + 1).put(&host, FILE);
        wait_until_number(&host, (version + 1).into());
    }

    let row = operator.row(NAME);
    assert_eq!(row["draining"].as_array().map(Vec::len), Some(MAX_DRAINING as usize), "{row}");

    Image::numbered(99).put(&host, FILE);
    let refused = operator.wait_until("one more generation is refused", |row| row["refused"].is_object());
    assert_eq!(refused["refused"]["reason"], "too-many-draining", "{refused}");
    assert_eq!(operator.reload_refused("too-many-draining")["generation"], refused["generation"]);
    assert_eq!(
        number(&mut host.peer()),
        u64::from(MAX_DRAINING + 1),
        "the current generation continues to serve"
    );

    latch.open();
    for _ in 0..sent {
        let frame = peer.receive();
        let id = frame.id().expect("the reply has an id");
        assert_eq!(Some(frame.result().to_string().as_str()), id.split('-').next(), "{frame:?}");
        accounting.record_reply(&frame);
    }

    accounting.check().expect("each request is answered once");
    // The host retries the refused file without a command.
    wait_until_number(&host, 99);
    assert_eq!(operator.wait_until_unloaded()["refused"], Value::Null);
}

#[test]
fn handles_signals_during_a_reload() {
    for round in 0..12_u32 {
        let mut host = with_first("");
        let mut peer = host.peer();
        assert_eq!(number(&mut peer), 1);

        peer.send_async("last", "numbered.slow", &json!(300));
        wait_until("the request is in flight", || host.count("in_flight") == 1);
        Image::numbered(2).put(&host, FILE);

        // The last signal arrives at a different moment of the reload in each round.
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
fn keeps_the_code_loaded_until_the_threads_that_ran_it_end() {
    // The methods leave thread-local values on the I/O threads. These are dropped at the end of the
    // threads by code that must still be loaded.
    for round in 0..6 {
        let image = Image::of("uses_threads");
        let mut host = with_image(&image, "[plugins]\nwatch = false");
        let mut operator = Operator::connect(&host);

        let mut peers: Vec<_> = (0..4).map(|_| host.peer()).collect();
        for peer in &mut peers {
            assert_eq!(peer.result("threads.inline", &Value::Null).as_u64().map(|seen| seen > 0), Some(true));
        }

        if round % 2 == 0 {
            fs::remove_file(in_plugins(&host, FILE)).expect("the plugin file is removed");
            host.signal(Signal::HUP);
        } else {
            operator.reload_published();
        }

        host.signal(Signal::TERM);
        assert_eq!(host.wait().code(), Some(0), "round {round}: {}", host.log());
    }
}

#[test]
fn shuts_down_despite_an_endless_inline_method() {
    let mut host = with_image(&Image::of("counter_v1"), "[timeouts]\ndrain = \"200ms\"");
    let mut peer = host.peer();
    peer.assert_usable();

    peer.send_async("endless", "counter.add_and_hold_up", &json!(600_000));
    host.wait_for_log("counter.add_and_hold_up (inline, plugin subject) has blocked I/O thread");

    host.signal(Signal::TERM);
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert!(host.log_contains("1 I/O thread still blocked by inline methods"), "{}", host.log());
}

#[test]
fn shuts_down_during_a_slow_configuration_change() {
    let config = "[plugins]\nprobe = \"5s\"\n";
    let mut host = with_first(config);

    let hanging = format!("{config}[plugin.subject.settings]\nhang = true\n");
    fs::write(host.path("config.toml"), hanging).expect("the configuration is written");
    wait_until("the probe hangs", || has_child(host.pid()));

    host.signal(Signal::TERM);
    host.wait_for_log("stopping on SIGTERM");
    assert!(
        !host.log_contains("probe-timed-out"),
        "the signal is processed before the probe ends: {}",
        host.log()
    );
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
}

fn has_child(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children.any(|children| !children.trim().is_empty())
}
