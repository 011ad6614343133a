//! Unloading: a retired generation releases everything, or it is retained, counted, and limited.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, put, with_image};
use crate::support::build::artifacts;
use crate::support::footprint::{Footprint, connections, resident_kib};
use crate::support::host::install;
use crate::support::threads::threads;
use crate::support::wait::poll_within;
use crate::support::{CEILING, HostProcess, Peer, is_soak, wait_until};

/// Reloads of the fixture that uses threads in each permitted way.
const RELOADS: usize = 300;
/// Connections that migrate while the host ends.
const MIGRATING_CONNECTIONS: usize = 360;
/// Permitted growth of resident memory by 300 or 10,000 reloads, in KiB. The allocator keeps a few
/// arenas.
const SLACK: usize = 12 * 1024;

fn use_all(peers: &mut [Peer]) {
    for peer in peers {
        for method in ["threads.inline", "threads.blocking", "threads.async"] {
            assert!(peer.result(method, &Value::Null).as_u64() > Some(0));
        }
    }
}

/// Returns the footprint of the host when only the connections of this test are open.
fn footprint(host: &HostProcess, operator: &mut Operator, ours: usize) -> Footprint {
    operator.wait_until_unloaded();
    wait_until("only our connections are open", || connections(host.pid()) == ours);
    Footprint::of(host.pid())
}

#[test]
fn refuses_the_seventh_load_with_static_tls_and_no_other_plugin() {
    let builder = HostProcess::builder().config("[plugins]\nwatch = false").plugin("device");
    let host = builder.plugin_as("static_tls", FILE).start();
    let mut operator = Operator::connect(&host);
    for load in 2..=6 {
        operator.reload_published();
        operator.wait_until_unloaded();
        assert!(host.log_contains(&format!("load {load} of at most 6")), "{}", host.log());
    }

    operator.reload_refused("static-tls-exhausted");

    assert_eq!(host.peer().result("static_tls.get", &Value::Null), 0);
    // Also another plugin that has static TLS, but none that has not.
    let other = Image::of("static_tls").with_name_of_method("static_tls.get", "static_tls.put");
    put(&host.path("plugins"), &other.0, "libother.so");
    assert_eq!(operator.reload("other")["refused"]["reason"], "static-tls-exhausted");
    assert_eq!(operator.reload("device")["outcome"], "published");
    let refusals =
        host.log_lines().into_iter().filter(|line| line.contains("reason=\"static-tls-exhausted\""));
    assert_eq!(refusals.count(), 2, "{}", host.log());
}

#[test]
fn unloads_code_that_uses_threads_without_leaks() {
    let reloads = if is_soak() { 10_000 } else { RELOADS };
    let host = with_image(&Image::of("uses_threads"), "[plugins]\nwatch = false");
    let mut operator = Operator::connect(&host);
    let mut peers: Vec<_> = (0..4).map(|_| host.peer()).collect();
    let mut before = None;

    for reload in 0..reloads {
        use_all(&mut peers);
        operator.reload_published();
        // The resources that the first reloads allocate are reused by the later ones.
        if reload == reloads / 10 {
            use_all(&mut peers);
            let key = peers[0].result("threads.free_key", &Value::Null).as_u64();
            before = Some((footprint(&host, &mut operator, 5), key));
        }
        if is_soak() && reload % 1000 == 0 {
            eprintln!("{reload}: {:?}", Footprint::of(host.pid()));
        }
    }

    use_all(&mut peers);

    let (before, key) = before.expect("the footprint was taken");
    let mut after = footprint(&host, &mut operator, 5);

    // The last retired threads may end slightly after they are reported as ended.
    poll_within(CEILING, || {
        after = Footprint::of(host.pid());
        (after.threads <= before.threads && after.descriptors <= before.descriptors).then_some(())
    });

    eprintln!("{reloads} reloads: {before:?}, then {after:?}");
    let row = operator.row(NAME);

    assert_eq!((&row["unloaded"], &row["retained"]), (&json!(reloads), &json!([])), "{row}");

    assert!(after.threads <= before.threads, "{before:?} {after:?}");
    assert!(after.descriptors <= before.descriptors, "{before:?} {after:?}");
    assert!(after.mappings <= before.mappings + 16, "{before:?} {after:?}");
    assert!(after.resident <= before.resident + SLACK, "{before:?} {after:?}");

    // A process has 1,024 keys for thread-local values, and aborts if it needs more.
    let key_after = peers[0].result("threads.free_key", &Value::Null).as_u64();
    assert!(key_after <= key.map(|key| key + 3), "{key:?} {key_after:?}");

    let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid())).expect("its mappings");
    let mut copies: Vec<_> = maps.lines().filter_map(|line| line.split("/memfd:").nth(1)).collect();
    copies.dedup();
    assert_eq!(copies.len(), 1, "one copy of the code is mapped: {copies:?}");

    assert_eq!(host.count("generations_unloaded"), reloads as u64);
}

#[test]
fn counts_and_limits_retained_generations() {
    let config = "[plugins]\nwatch = false\nretained = 3";
    let mut host = with_image(&Image::of("keeps_thread"), config);
    let mut operator = Operator::connect(&host);
    let mut peer = host.peer();

    for count in 1..=3 {
        operator.reload_published();
        assert_eq!(peer.result("thread.get", &Value::Null), true);
        let row = operator.wait_until("the generation is retained", |row| {
            row["retained"].as_array().map(Vec::len) == Some(count)
        });
        let last = &row["retained"][count - 1];
        assert_eq!(last["generation"], row["generation"].as_u64().expect("a number") - 1, "{row}");
        assert!(last["reason"].as_str().is_some_and(|reason| reason.contains("thread")), "{row}");
        assert_eq!((&row["draining"], &row["unloaded"]), (&json!([]), &json!(0)));
    }

    assert_eq!(host.count("generations_retained"), 3);

    let verdict = operator.reload_refused("too-many-retained");
    let detail = verdict["refused"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("plugins.retained") && detail.contains("restart"), "{verdict}");
    assert_eq!(peer.result("thread.get", &Value::Null), true, "the current generation continues to serve");

    // The limit covers all plugins, because the keys of thread-local values belong to the process.
    Image::numbered(1).put(&host, "libother.so");
    assert_eq!(operator.reload("other")["refused"]["reason"], "too-many-retained");

    // The count outlives the removal of the file and other content under the same name.
    let file = host.path("plugins").join(FILE);
    fs::remove_file(&file).expect("the plugin is there");
    host.signal(Signal::HUP);
    operator
        .wait_until("the plugin is removed", |row| row["state"] == "removed" && row["draining"] == json!([]));
    put(&host.path("plugins"), b"no plugin at all", FILE);
    operator.reload_refused("not-elf");

    fs::remove_file(&file).expect("the other file is there");
    host.signal(Signal::HUP);
    let row = operator.wait_until("the refusal is cleared", |row| row["refused"].is_null());
    assert_eq!(row["retained"].as_array().map(Vec::len), Some(4), "{row}");

    install(artifacts().library("keeps_thread"), &file);
    assert_eq!(operator.reload(NAME)["refused"]["reason"], "too-many-retained");

    // A higher limit in the configuration permits further loads.
    fs::write(host.path("config.toml"), "[plugins]\nwatch = false\nretained = 8").expect("the configuration");
    host.wait_for_log("config.toml applied");

    assert_eq!(operator.reload("other")["outcome"], "published");
}

#[test]
fn migrates_connections_without_losing_requests() {
    let host = with_image(&Image::of("uses_threads"), "[plugins]\nwatch = false");
    let mut operator = Operator::connect(&host);
    let mut peers: Vec<_> = (0..20).map(|_| host.peer()).collect();

    // Connections in the middle of a frame, with pending replies, half-closed, and idle.
    let half = crate::support::peer::frame(0x0100, 1, r#"{"method":"threads.inline"}"#);

    for round in 0..20 {
        for (number, peer) in peers.iter_mut().enumerate() {
            match number % 3 {
                0 => peer.send(&half[..9]),
                1 => peer.send_async(&format!("{round}"), "threads.async", &Value::Null),
                _ => {}
            }
        }

        operator.reload_published();
        for (number, peer) in peers.iter_mut().enumerate() {
            match number % 3 {
                0 => {
                    peer.send(&half[9..]);
                    peer.receive().result();
                }
                1 => drop(peer.receive().result()),
                _ => peer.assert_usable(),
            }
        }
    }

    let mut last = host.peer();
    last.send_sync("threads.blocking", &Value::Null);
    last.half_close();
    operator.reload_published();
    assert_eq!(last.receive_until_close().len(), 1);

    operator.wait_until_unloaded();
    assert!(resident_kib(host.pid()) > 0);
}

/// Returns whether the host has an I/O thread that it did not have at its start.
fn has_new_io_thread(pid: u32) -> bool {
    let is_new = |name: &str| name.strip_prefix("io:").is_some_and(|number| number.parse() != Ok(0));
    threads(pid).iter().any(|thread| is_new(&thread.name))
}

#[test]
fn answers_every_request_in_flight_if_the_host_ends_while_connections_migrate() {
    for round in 0..if is_soak() { 500 } else { 25 } {
        let builder =
            HostProcess::builder().plugin("sleeps").config("[plugins]\nwatch = false\n[io]\nthreads = 1");
        put(&builder.directory().join("plugins"), &Image::of("uses_threads").0, FILE);
        let mut host = builder.start();
        let latch = host.latch("slow");
        let mut peers: Vec<_> = (0..MIGRATING_CONNECTIONS).map(|_| host.peer()).collect();
        for peer in &mut peers {
            peer.send_async("slow", "sleep.async_until", &latch.params());
        }
        wait_until("all requests are in flight", || host.count("in_flight") == MIGRATING_CONNECTIONS as u64);

        let mut operator = Operator::connect(&host);
        operator.0.send_sync("admin.plugin.reload", &json!({ "name": NAME }));
        // Without a pause between two looks, because the connections migrate within milliseconds.
        let until = Instant::now() + CEILING;
        while !has_new_io_thread(host.pid()) {
            assert!(Instant::now() < until, "the I/O thread is not replaced: {}", host.log());
        }
        host.signal(Signal::TERM);
        host.wait_for_log("stopping on SIG");
        latch.open();

        let answered = |peer: &mut Peer| {
            let frames = peer.receive_until_close();
            frames.len() == 1 && frames[0].code().is_none()
        };
        let lost = peers.iter_mut().map(answered).filter(|answered| !answered).count();
        assert_eq!(lost, 0, "requests without a result in round {round}: {}", host.log());
        assert_eq!(host.wait().code(), Some(0));
    }
}
