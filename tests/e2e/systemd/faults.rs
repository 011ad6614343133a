//! The service as it ends by itself, and as systemd brings it back; part of the steps in `shipped`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::continuous_clients::Customers;
use super::machine::{Machine, SOCKET};
use crate::support::peer::PLUGIN_PANICKED;
use crate::support::{CEILING, wait_until};

/// How often it ends by itself, each time in the next of several ways; `JACKFIELD_TEST_CRASHES`
/// says otherwise.
const CRASHES: usize = 8;
/// How often it must have been started in vain before the cause is taken away.
const IN_VAIN: u32 = 12;
/// The watchdog's limit in this test: the shipped one is longer.
const WATCHDOG: Duration = Duration::from_secs(2);

pub(super) fn ended(machine: &Machine) {
    let crashes =
        std::env::var("JACKFIELD_TEST_CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(CRASHES);
    // However often it dies of it, the plugin is not left out; what ran is told all the same.
    let path = "/etc/jackfield/config.toml";
    let shipped = std::fs::read_to_string(machine.path(path)).expect("the configuration");
    machine.write(path, &shipped.replace("[plugins.deaths]\n", "[plugins.deaths]\nmost = 0\n"));
    machine.must(&["systemctl", "restart", "jackfield.service"]);
    let customers = Customers::at(&machine.path(SOCKET), 2);
    let mut longest = Duration::ZERO;
    for crash in 0..crashes {
        customers.wait_for(10);
        let before = machine.main_pid();
        assert_ne!(before, 0);
        let began = Instant::now();
        match [None, Some("crash.abort"), Some("crash.exit"), Some("crash.segv")][crash % 4] {
            None => machine.kill("KILL"),
            Some(method) => {
                // Who hangs up takes a call back that has not begun.
                let mut peer = machine.peer();
                peer.send_sync(method, &Value::Null);
                peer.expect_close();
            }
        }
        wait_until("another process runs", || {
            !matches!(machine.main_pid(), 0 | 1) && machine.main_pid() != before
        });
        customers.wait_for(1);
        eprintln!("    end {crash}: {:?}", began.elapsed());
        longest = longest.max(began.elapsed());
    }
    let tally = customers.end();
    eprintln!("    {crashes} ends: serving again after {longest:?} at most: {tally:?}");
    // What a host had accepted ends with it; there were 4 clients. Nobody was refused.
    assert_eq!(tally.refused, 0, "{tally:?}");
    assert!(tally.lost <= 4 * crashes as u64, "{tally:?}");
    let words = ["journalctl", "--no-pager", "--output=json", "--unit=jackfield.service", "--priority=err"];
    let entries = machine.must(&words);
    let entries = entries.lines().map(|line| serde_json::from_str::<Value>(line).expect("an entry"));
    let mut named: Vec<_> = entries
        .filter(|entry| entry["MESSAGE"] == "the host before died while this ran")
        .filter(|entry| entry["JACKFIELD_PLUGIN"] == "crashes" && entry["JACKFIELD_GENERATION"].is_string())
        .filter_map(|entry| entry["JACKFIELD_METHOD"].as_str().map(str::to_owned))
        .collect();
    named.sort();
    named.dedup();
    let ways = ["crash.abort", "crash.exit", "crash.segv"];
    assert_eq!(named, ways[..ways.len().min(crashes - 1)], "each is in the journal with its fields");
    machine.write(path, &shipped);
    machine.must(&["systemctl", "restart", "jackfield.service"]);
}

pub(super) fn watched(machine: &Machine) {
    let part = format!("[Service]\nWatchdogSec={}\n", WATCHDOG.as_secs());
    machine.write("/run/systemd/system/jackfield.service.d/watchdog.conf", &part);
    machine.must(&["systemctl", "daemon-reload"]);
    machine.must(&["systemctl", "restart", "jackfield.service"]);
    for (way, held) in [("a thread held up", Some("crash.hold")), ("a process stopped", None)] {
        let before = machine.main_pid();
        let mut client = machine.peer();
        client.assert_usable();
        let began = Instant::now();
        match held {
            Some(method) => client.send_sync(method, &Value::Null),
            None => machine.kill("STOP"),
        }
        client.expect_close();
        let killed = began.elapsed();
        machine.peer().assert_usable();
        eprintln!("    {way}: killed after {killed:?}, served again after {:?}", began.elapsed());
        assert!(killed < WATCHDOG + CEILING, "{killed:?}");
        assert_ne!(machine.main_pid(), before);
        assert!(machine.journal().contains("Watchdog timeout"), "it was the watchdog");
    }
    std::fs::remove_file(machine.path("/run/systemd/system/jackfield.service.d/watchdog.conf"))
        .expect("it is there");
    machine.must(&["systemctl", "daemon-reload"]);
    machine.must(&["systemctl", "restart", "jackfield.service"]);
}

pub(super) fn looped(machine: &Machine) {
    let path = "/etc/jackfield/config.toml";
    let shipped = std::fs::read_to_string(machine.path(path)).expect("the configuration");
    machine.write(path, "[speed]\n");
    let restarts = || machine.property("NRestarts").parse::<u32>().expect("a number");
    let before = restarts();
    machine.kill("KILL");
    // It waits in the queue all the while.
    let mut client = machine.peer();
    client.send_sync("system.ping", &Value::Null);
    wait_until("it was started often in vain", || restarts() >= before + IN_VAIN);
    assert_ne!(machine.property("ActiveState"), "failed");
    for socket in ["jackfield.socket", "jackfield-admin.socket"] {
        let state = machine.must(&["systemctl", "show", "--value", "-p", "ActiveState", socket]);
        assert_eq!(state.trim(), "active", "{socket}");
    }
    assert!(machine.journal().contains("config.toml:1:2"), "and the journal says why");
    machine.write(path, &shipped);
    assert_eq!(client.receive().result(), "pong");
    wait_until("it is ready", || machine.property("ActiveState") == "active");
}

pub(super) fn journalled(machine: &Machine) {
    machine.add_plugin("start_faults");
    let words = ["journalctl", "--no-pager", "--output=json", "--unit=jackfield.service", "--priority=err"];
    let entries = || -> Vec<Value> {
        let lines = machine.must(&words);
        lines.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
    };
    let is_of_it = |entry: &Value| entry["JACKFIELD_PLUGIN"] == json!("start_faults");
    wait_until("the refusal is in the journal", || entries().iter().any(is_of_it));
    let found = entries().into_iter().find(is_of_it).expect("it is there");
    assert_eq!(found["JACKFIELD_REASON"], "start-failed", "{found}");
    std::fs::remove_file(machine.path("/usr/lib/jackfield/plugins/start_faults.so")).expect("it is there");
    machine.add_plugin("panics");
    let mut peer = machine.peer();
    // Until it is loaded, there is no such method.
    wait_until("a method panics", || {
        peer.send_async("a\nMESSAGE=forged\u{1b}b", "vice.panic", &Value::Null);
        peer.receive().code() == Some(PLUGIN_PANICKED)
    });
    let is_of_it =
        |entry: &Value| entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with("a method panicked: "));
    wait_until("the panic is in the journal", || entries().iter().any(is_of_it));
    let found = entries().into_iter().find(is_of_it).expect("it is there");
    assert_eq!(found["JACKFIELD_PLUGIN"], "panics", "{found}");
    assert_eq!(found["JACKFIELD_METHOD"], "vice.panic", "{found}");
    assert!(
        found["JACKFIELD_GENERATION"].as_str().is_some_and(|number| number.parse::<u64>().is_ok()),
        "{found}"
    );
    // Text, and not bytes, as which the journal shows what is not.
    assert_eq!(found["JACKFIELD_ID"], "a\\nMESSAGE=forged\\u{1b}b", "{found}");
    std::fs::remove_file(machine.path("/usr/lib/jackfield/plugins/panics.so")).expect("it is there");
}
